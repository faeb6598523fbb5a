// s3-fifo: queues and a history (Yang et al., "FIFO queues are all you need for cache
// eviction", SOSP 2023), with a small queue that adapts as ARC's does (Megiddo and Modha,
// "ARC: a self-tuning, low overhead replacement cache", FAST 2003).
//
// New entries enter the small queue. Those used there move on to the main queue; the others are
// evicted and remembered in a history, and if they return from it, they enter the main queue at
// once. The main queue gives used entries another round. Keys read once, as in a scan, thus pass
// through the small queue while the others stay; and a hit sets one bit, once, and moves nothing.
//
// The small queue begins with a tenth of the store. It grows when keys return soon after they left
// it, up to the whole store, which is best if the newest keys are used next, as LRU assumes; it
// shrinks when keys return soon after they left the main queue. Beyond half of the store it grows
// at half the pace.
//
// A use right after the arrival does not count: requests for one key often come in bursts, which
// do not predict later use (Robinson and Devarakonda, "Data cache management using frequency-based
// replacement", SIGMETRICS 1990, call this correlated references). The window is 3/16 of the time
// in which the small queue is filled once. An entry's mark holds the epoch of its arrival; sixteen
// epochs pass while the small queue is filled.

#pragma once

#include "entry_list.h"
#include "history.h"
#include "order.h"

namespace polycache::locmem {

class S3FifoOrder final : public Order {
 public:
  void add(Entry& entry, std::uint64_t hash) noexcept override;
  void use(Entry& entry) noexcept override { note_use(entry); }
  // The same, for callers that know the policy: a hit changes nothing else.
  void note_use(Entry& entry) noexcept {
    const std::uint8_t mark = entry.mark();
    // Written only if it changes, so that the cache line stays shared between processors.
    if ((mark & used_bit) != 0) return;
    if ((mark & in_main_bit) == 0 && epochs_since(mark) < window_) return;
    entry.set_mark(static_cast<std::uint8_t>(mark | used_bit));
  }
  void remove(Entry& entry) noexcept override;
  void replace(Entry& old, Entry& fresh) noexcept override;
  Entry* pick() noexcept override;
  const Entry* likely_next() const noexcept override {
    return takes_small() ? small_.oldest() : main_.oldest();
  }
  void prefetch(std::uint64_t hash) const noexcept override;
  void evict(Entry& entry, std::uint64_t hash) noexcept override;
  void forget() noexcept override { history_.clear(); }
  std::size_t lists() const noexcept override { return 2; }
  const EntryList& list(std::size_t index) const noexcept override {
    return index == 0 ? small_ : main_;
  }
  std::uint8_t standing(const Entry& entry) const noexcept override {
    return entry.mark() & (used_bit | in_main_bit);
  }
  void restore(Entry& entry, std::uint8_t standing) noexcept override;

 private:
  // An entry's mark. In the small queue, the upper six bits are the epoch of its arrival.
  static constexpr std::uint8_t used_bit = 1;  // since its arrival or its round began
  static constexpr std::uint8_t in_main_bit = 2;
  static constexpr int epoch_shift = 2;
  static constexpr std::uint8_t epoch_mask = 63;

  static bool is_used(const Entry& entry) noexcept { return (entry.mark() & used_bit) != 0; }
  static bool is_in_main(const Entry& entry) noexcept { return (entry.mark() & in_main_bit) != 0; }
  int epochs_since(std::uint8_t mark) const noexcept {
    return (epoch_ - (mark >> epoch_shift)) & epoch_mask;
  }
  void count_arrival() noexcept;
  EntryList& list_of(const Entry& entry) noexcept;
  std::size_t size() const noexcept { return small_.size() + main_.size(); }
  // Whether the next eviction takes from the small queue.
  bool takes_small() const noexcept;
  void adapt(const History::Memory& memory) noexcept;

  std::uint8_t epoch_ = 0;      // of the small queue
  std::uint8_t window_ = 0;     // uses count from this many epochs after the arrival on
  std::uint32_t in_epoch_ = 0;  // arrivals
  EntryList small_;
  EntryList main_;
  double small_share_ = 0.1;  // of the bytes, above which it is evicted from
  History history_;           // of both queues; marked: of the main one
};

}  // namespace polycache::locmem
