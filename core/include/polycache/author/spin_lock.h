// A lock of one byte for short critical sections, and for a lock that is held while the process
// forks.
//
// A std::mutex costs more than a whole lookup in memory. It also serves a fork badly: POSIX lets
// only the thread that locked a mutex unlock it, and that thread does not exist in the child; and
// ThreadSanitizer ends a process in which one thread holds 64 of them at once, as a fork with many
// stores does. One of these may be unlocked by any thread, and any number may be held.
//
// A thread that waits spins for about 16 reads, yields, and then sleeps for 50 us at a time. It is
// neither fair nor recursive.

#pragma once

#include <atomic>

#include "polycache/detail/export.h"

namespace polycache {

// Thread-safe. Has what std::lock_guard and std::unique_lock need.
class POLYCACHE_API SpinLock {
 public:
  // Acquire: sees what the last holder wrote before unlock().
  void lock() noexcept {
    if (locked_.exchange(true, std::memory_order_acquire)) [[unlikely]]
      wait();
  }
  // Returns whether it has taken the lock; does not wait.
  bool try_lock() noexcept { return !locked_.exchange(true, std::memory_order_acquire); }
  // REQUIRES: it is locked.
  void unlock() noexcept { locked_.store(false, std::memory_order_release); }

 private:
  void wait() noexcept;  // until it is taken

  std::atomic<bool> locked_{false};
};

}  // namespace polycache
