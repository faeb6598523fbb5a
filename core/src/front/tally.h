// What one Cache counts, and what the caches of one alias have counted together.

#pragma once

#include <atomic>
#include <cstdint>

#include "polycache/statistics.h"

namespace polycache {

class TallyBook;

// The numbers of one Cache. Written by its thread alone, read by any. Not copied: a book has its
// address.
class Tally {
 public:
  // One number. No read-modify-write: there is one writer.
  class Count {
   public:
    void add(std::uint64_t n = 1) noexcept {
      n_.store(n_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    std::uint64_t get() const noexcept { return n_.load(std::memory_order_relaxed); }
    void clear() noexcept { n_.store(0, std::memory_order_relaxed); }

   private:
    std::atomic<std::uint64_t> n_{0};
  };

  Tally() = default;
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;
  ~Tally() { leave(); }

  Count hits, misses, writes, refused_writes, erased;
  Count loads, failed_loads, waits, errors, refusals;
  Count stale, negative, load_microseconds, refreshes, unmodified_loads, discarded_loads;
  Count late_loads, refused_jobs;

  // Counts for that book from now on; what was counted before stays in the book that it was for.
  // Null: for none. Never throws.
  void join(TallyBook* book) noexcept;
  void leave() noexcept { join(nullptr); }

 private:
  friend class TallyBook;

  void add_to(CacheStatistics& sum) const noexcept;
  void clear() noexcept;

  TallyBook* book_ = nullptr;
  Tally* next_ = nullptr;  // guarded by the cold mutex, as is the next
  Tally* previous_ = nullptr;
};

// The numbers of one alias. Outlives the tallies that have joined it: a Cache holds its state,
// which holds the book. Thread-safe.
class TallyBook {
 public:
  TallyBook() = default;
  TallyBook(const TallyBook&) = delete;
  TallyBook& operator=(const TallyBook&) = delete;
  ~TallyBook() = default;

  CacheStatistics sum() const;
  // Counts from zero again. What the tallies have stays: a baseline is taken off it.
  void reset();

 private:
  friend class Tally;

  CacheStatistics total() const;  // REQUIRES: the cold mutex is held

  // Guarded by the cold mutex.
  Tally* first_ = nullptr;
  CacheStatistics left_;      // of tallies that have left
  CacheStatistics baseline_;  // at the last reset()
};

}  // namespace polycache
