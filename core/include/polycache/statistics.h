// What was done with an alias, in numbers: Cache::statistics(), CacheRegistry::statistics().
//
// Each Cache counts for itself, without a lock; a reader adds up. Numbers of operations that are
// under way may be missing, and numbers that belong together may be read at slightly different
// moments. They only grow, also over a reconfigure() that keeps the alias, until
// CacheRegistry::reset_statistics(). A child of fork() starts with the numbers of its parent.

#pragma once

#include <cstdint>

#include "polycache/detail/export.h"  // C++20

namespace polycache {

// Where the store fails and "on_error" is "miss", a read is a miss and a write is refused, in
// addition to the error; where it is "throw", only the error counts.
struct CacheStatistics {
  // Keys that were read, by get, visit, get_entry, pop, pop_entry, get_many (each key counts) and
  // get_or_set (the first look): with a live value, without one, with a value whose time was over,
  // with an entry that says "there is no such thing". Each read counts once. For get, visit, pop
  // and get_many, which return neither of the last two, these are misses.
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t stale = 0;
  std::uint64_t negative = 0;

  // Keys that were written, by set, set_many, add, touch, expire, persist, incr and incr_version:
  // done; not done, because the store refused the value or the condition did not hold.
  std::uint64_t writes = 0;
  std::uint64_t refused_writes = 0;

  // Entries that erase, erase_many, erase_pattern, pop, pop_entry, and a set or touch that means
  // erase, have removed.
  std::uint64_t erased = 0;

  // Functions that get_or_set has run, and the time that they took together; those of them that
  // threw or said fail(); that ran while the old value was still fresh (refresh_after, early); that
  // said not_modified(); whose result was not stored, because the key was written or erased
  // meanwhile.
  std::uint64_t loads = 0;
  std::uint64_t load_microseconds = 0;
  std::uint64_t failed_loads = 0;
  std::uint64_t refreshes = 0;
  std::uint64_t unmodified_loads = 0;
  std::uint64_t discarded_loads = 0;

  // Calls that waited for the function of another thread; that stopped waiting at soft_limit or
  // hard_limit, or took a stale value at the end of LoadOptions::wait; background computations that
  // the executor refused.
  std::uint64_t waits = 0;
  std::uint64_t late_loads = 0;
  std::uint64_t refused_jobs = 0;

  // Operations for which the store failed, and those that a circuit breaker refused.
  std::uint64_t errors = 0;
  std::uint64_t refusals = 0;

  // The share of hits in what was read, 0 if nothing was.
  double hit_ratio() const noexcept {
    const std::uint64_t reads = hits + misses + stale + negative;
    return reads == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(reads);
  }

  friend bool operator==(const CacheStatistics&, const CacheStatistics&) = default;
};

}  // namespace polycache
