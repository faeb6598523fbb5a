#include "order_s3_fifo.h"

#include <algorithm>

namespace polycache::locmem {
namespace {

constexpr std::size_t remembered_per_entry = 2;

// By how many entries the small queue's share changes when a key returns, indexed by the number of
// newer keys of its queue in its set of the history. With sixteen places for every eight entries of
// the store, that is after about a sixteenth and three sixteenths of the store were evicted; a
// later return says little about where slightly more room would help.
constexpr double share_steps[History::many_alike] = {1, 1.0 / 3};

constexpr double least_small_share = 0.01;

// Beyond this share it grows at half the pace: if the small queue has most of the store, the main
// queue is too small to show what it would be worth.
constexpr double large_small_share = 0.5;
constexpr double pace_beyond = 0.5;

constexpr std::size_t epochs_to_fill = 16;
constexpr std::size_t widest_window = 3;

// A small queue with more than this share has shown that the newest entries are used first. There
// every use counts.
constexpr double almost_all = 0.9;

std::uint32_t fingerprint(std::uint64_t hash) noexcept {
  return static_cast<std::uint32_t>(hash >> 16);
}

}  // namespace

EntryList& S3FifoOrder::list_of(const Entry& entry) noexcept {
  return is_in_main(entry) ? main_ : small_;
}

bool S3FifoOrder::takes_small() const noexcept {
  if (small_.empty() || main_.empty()) return main_.empty();
  const auto small = static_cast<double>(small_.bytes());
  return small >= small_share_ * (small + static_cast<double>(main_.bytes()));
}

void S3FifoOrder::adapt(const History::Memory& memory) noexcept {
  if (memory.newer_alike == History::many_alike) return;
  const double step = share_steps[memory.newer_alike] / static_cast<double>(size() + 1);
  const double growth = small_share_ > large_small_share ? step * pace_beyond : step;
  small_share_ =
      std::clamp(memory.mark ? small_share_ - step : small_share_ + growth, least_small_share, 1.0);
}

void S3FifoOrder::add(Entry& entry, std::uint64_t hash) noexcept {
  const std::optional<History::Memory> memory = history_.take(fingerprint(hash));
  if (memory) adapt(*memory);
  if (memory && !memory->mark) {
    entry.set_mark(in_main_bit);
    main_.push_newest(entry);
    return;
  }
  entry.set_mark(static_cast<std::uint8_t>(epoch_ << epoch_shift));
  small_.push_newest(entry);
  count_arrival();
}

// A queue of two or three entries has a window of one epoch, a shorter one none: there only a use
// right after the arrival can be observed.
void S3FifoOrder::count_arrival() noexcept {
  const std::size_t size = small_.size();
  if (++in_epoch_ < size / epochs_to_fill) return;
  in_epoch_ = 0;
  epoch_ = (epoch_ + 1) & epoch_mask;
  window_ =
      small_share_ > almost_all ? 0 : static_cast<std::uint8_t>(std::min(size / 2, widest_window));
}

void S3FifoOrder::remove(Entry& entry) noexcept { list_of(entry).remove(entry); }

void S3FifoOrder::replace(Entry& old, Entry& fresh) noexcept {
  fresh.set_mark(old.mark());
  list_of(old).replace(old, fresh);
}

void S3FifoOrder::restore(Entry& entry, std::uint8_t standing) noexcept {
  if ((standing & in_main_bit) != 0 && !is_in_main(entry)) {
    small_.remove(entry);
    entry.set_mark(in_main_bit);
    main_.push_newest(entry);
  }
  if ((standing & used_bit) != 0) {
    entry.set_mark(static_cast<std::uint8_t>(entry.mark() | used_bit));
  }
}

// Terminates, since each round moves an entry out of the small queue or clears a use.
Entry* S3FifoOrder::pick() noexcept {
  for (;;) {
    EntryList& list = takes_small() ? small_ : main_;
    if (list.empty()) return nullptr;
    Entry& oldest = *list.oldest();
    if (!is_used(oldest)) return &oldest;
    list.remove(oldest);
    oldest.set_mark(in_main_bit);
    main_.push_newest(oldest);
  }
}

void S3FifoOrder::prefetch(std::uint64_t hash) const noexcept {
  history_.prefetch(fingerprint(hash));
}

void S3FifoOrder::evict(Entry& entry, std::uint64_t hash) noexcept {
  history_.add(fingerprint(hash), is_in_main(entry), size() * remembered_per_entry);
  remove(entry);
}

}  // namespace polycache::locmem
