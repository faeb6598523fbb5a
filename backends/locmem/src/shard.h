// One part of a store: the entries whose hashes begin alike, under one lock.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "deadline_clock.h"
#include "entry.h"
#include "heap.h"
#include "operation_scope.h"
#include "order.h"
#include "order_s3_fifo.h"
#include "page_source.h"
#include "polycache/author/backend.h"
#include "polycache/author/spin_lock.h"
#include "settings.h"
#include "table.h"
#include "tag_rows.h"
#include "tag_stamp.h"

namespace polycache::locmem {

enum class PutResult : std::uint8_t {
  stored,
  not_stored,  // the mode or the comparison did not hold
  refused,     // it does not fit; an older value was removed
  no_room,     // nothing changed; other shards must evict something first
};

inline constexpr std::size_t removal_kinds = 4;  // kinds of Removal

// A value to be stored under a key.
struct Write {
  std::string_view key;
  std::uint64_t hash;
  NewValue value;
  std::int64_t deadline;  // DeadlineClock
  std::int64_t now;       // a time in the recent past
};

// REQUIRES, for everything but prefetch(): the caller holds lock().
class alignas(64) Shard {
 public:
  // One of `shards`.
  Shard(const Settings& settings, std::size_t shards, const KeyHash& hash,
        const DeadlineClock& clock, PageSource& pages, TagStamp& tag_stamp);
  ~Shard();

  SpinLock& lock() noexcept { return lock_; }

  // The entry of a key, expired or not, or null.
  Entry* look(std::uint64_t hash, std::string_view key) const noexcept {
    return table_.find(hash, key);
  }
  // The live entry of a key, or null. Removes it if it is expired. A write already knows the time.
  Entry* find(std::uint64_t hash, std::string_view key, OperationScope& operation) noexcept;
  Entry* find(const Write& write, OperationScope& operation) noexcept;
  void use(Entry& entry) noexcept {
    if (is_s3_fifo_) [[likely]] {
      static_cast<S3FifoOrder&>(*order_).note_use(entry);
    } else {
      order_->use(entry);
    }
  }

  // Stores the value under a key whose entry is `found`, or which has none if that is null.
  PutResult assign(Entry* found, Write& write, OperationScope& operation) noexcept;
  void set_deadline(Entry& entry, std::int64_t deadline) noexcept;
  void remove(std::uint64_t hash, Entry& entry, Removal cause, OperationScope& operation) noexcept;

  // Removes all entries that `matches` accepts; returns their number.
  template <class Predicate>
  std::size_t remove_if(Predicate matches, Removal cause, OperationScope& operation);
  // Removes everything and releases the table's memory.
  void clear(OperationScope& operation) noexcept;

  // Calls visit(entry) for entries from that point of the table on, expired ones included, until
  // `enough` returns true, which it is asked after each bucket. Returns the point to continue from;
  // Table::end_point after the last.
  template <class Visit, class Enough>
  std::uint64_t visit_from(std::uint64_t point, Visit visit, Enough enough) const;

  // A walk through the entries in the order of eviction, in several steps.
  struct Walk {
    std::size_t list = 0;
    // The entry at which it stopped, and what was older; none at the beginning of a list. Only
    // compared, since they may be gone.
    const Entry* last = nullptr;
    const Entry* older = nullptr;
    std::string key = {};  // of `last`
  };
  // Calls visit(entry) for about so many entries; returns whether there may be more. If the place
  // is lost because its entry has moved, the rest of that list is left out.
  template <class Visit>
  bool walk_on(Walk& walk, std::size_t at_most, Visit visit) const;
  std::uint8_t standing(const Entry& entry) const noexcept { return order_->standing(entry); }
  void restore(Entry& entry, std::uint8_t standing) noexcept { order_->restore(entry, standing); }

  // Begins to index the tags of what is written from now on.
  void start_tag_index() {
    if (!tags_) tags_ = std::make_unique<TagRows>();
  }
  void drop_tag_index() noexcept { tags_.reset(); }
  // Adds an entry that is there.
  void index_tags(const Entry& entry) noexcept;
  // Removes entries that carry that version of a tag, at most so many, and adds the live ones among
  // them to `live`. Returns whether there may be more.
  bool remove_tagged(std::uint64_t version, std::size_t most, std::size_t& live,
                     OperationScope& operation) noexcept;

  // Evicts the next entry; false if there is none.
  bool evict_one(OperationScope& operation) noexcept;
  // Searches this many buckets for expired entries, if any can be expired, and removes them.
  void sweep(std::int64_t now, std::size_t buckets, OperationScope& operation) noexcept;
  // Moves a few entries together if there are too many holes; returns whether it did.
  bool tidy() noexcept { return heap_.is_wasteful() && move_some(); }

  std::size_t entries() const noexcept { return table_.size(); }
  std::uint64_t bytes() const noexcept { return bytes_; }
  std::uint64_t removals(Removal cause) const noexcept {
    return removals_[static_cast<std::size_t>(cause)];
  }

  void prefetch(std::uint64_t hash) const noexcept { table_.prefetch(hash); }
  void prefetch_entry(std::uint64_t hash) const noexcept { table_.prefetch_entry(hash); }

 private:
  bool overwrite(Entry& entry, std::string_view value) noexcept;
  Entry* make(Entry*& found, Write& write, OperationScope& operation);
  bool move_some() noexcept;
  bool make_room(Entry*& found, const Amount& whole, std::int64_t now,
                 OperationScope& operation) noexcept;
  void evict(Entry& entry, OperationScope& operation) noexcept;
  void prepare_eviction() const noexcept;
  void cull(std::int64_t now, OperationScope& operation) noexcept;
  void sweep_bucket(std::int64_t now, OperationScope& operation) noexcept;
  bool is_poor(const OperationScope& operation) const noexcept;
  void take_away(Entry& entry, Removal cause, OperationScope& operation) noexcept;
  void note(std::int64_t deadline) noexcept;

  // The members that a read needs come first: one line.
  SpinLock lock_;  // guards what follows
  const bool is_s3_fifo_;
  Table table_;
  const Settings& settings_;
  const std::int64_t shards_;
  const DeadlineClock& clock_;
  Heap heap_;
  std::unique_ptr<Order> order_;
  std::uint64_t bytes_ = 0;

  // No entry ends before ends_from_. Sweeping visits the table bucket by bucket; what it sees, and
  // what is written meanwhile, determines the value for the next round.
  std::int64_t ends_from_ = DeadlineClock::no_deadline;
  std::int64_t next_ends_from_ = DeadlineClock::no_deadline;
  std::size_t swept_ = 0;
  std::uint32_t swept_table_ = 0;  // Table::rebuilt() when the round began

  std::array<std::uint64_t, removal_kinds> removals_{};
  std::unique_ptr<TagRows> tags_;  // null: no index
  TagStamp& tag_stamp_;            // of the store
};

template <class Visit, class Enough>
std::uint64_t Shard::visit_from(std::uint64_t point, Visit visit, Enough enough) const {
  if (table_.buckets() == 0) return Table::end_point;
  while (point < Table::end_point) {
    const std::uint64_t begin = point;
    point = table_.visit_from(begin, [&](const Entry& entry, std::uint64_t its_point) {
      if (its_point >= begin) visit(entry);
    });
    if (enough()) break;
  }
  return point;
}

template <class Visit>
bool Shard::walk_on(Walk& walk, std::size_t at_most, Visit visit) const {
  const Entry* next = nullptr;
  if (walk.last == nullptr) {
    next = order_->list(walk.list).oldest();
  } else {
    const Entry* const last = table_.find(table_.hash_of(walk.key), walk.key);
    if (last == walk.last && last->older == walk.older) next = last->newer;
  }
  const Entry* last = nullptr;
  for (std::size_t n = 0; n < at_most && next != nullptr; ++n) {
    last = next;
    next = next->newer;
    visit(*last);
  }
  if (next == nullptr) {
    walk.last = nullptr;
    return ++walk.list < order_->lists();
  }
  walk.last = last;
  walk.older = last->older;
  walk.key = last->key();
  return true;
}

template <class Predicate>
std::size_t Shard::remove_if(Predicate matches, Removal cause, OperationScope& operation) {
  std::size_t removed = 0;
  for (std::size_t bucket = 0; bucket < table_.buckets(); ++bucket) {
    table_.visit_bucket(bucket, [&](Entry& entry) {
      if (!matches(entry)) return;
      remove(table_.hash(entry), entry, cause, operation);
      ++removed;
    });
  }
  return removed;
}

}  // namespace polycache::locmem
