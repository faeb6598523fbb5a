// A lock of one byte for critical sections of some tens of nanoseconds.
//
// A std::mutex would cost more than a whole lookup, and a fork's child must be able to release
// a lock that its parent's thread took.

#pragma once

#include <atomic>

namespace polycache::locmem {

class SpinLock {
 public:
  // Acquire: sees what the last holder wrote before unlock().
  void lock() noexcept {
    if (locked_.exchange(true, std::memory_order_acquire)) [[unlikely]]
      wait();
  }
  bool try_lock() noexcept { return !locked_.exchange(true, std::memory_order_acquire); }
  void unlock() noexcept { locked_.store(false, std::memory_order_release); }

 private:
  void wait() noexcept;  // until it is taken

  std::atomic<bool> locked_{false};
};

}  // namespace polycache::locmem
