// A lock of one byte for critical sections of some tens of nanoseconds.
//
// Not a std::mutex, since taking and releasing that costs more than a whole lookup does,
// and since a fork's child must be able to release what its parent's thread took.

#pragma once

#include <atomic>

namespace polycache::locmem {

class SpinLock {
 public:
  // Acquire: what the last holder wrote before unlock() is seen.
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
