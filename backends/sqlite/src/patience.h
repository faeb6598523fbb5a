// How long one operation may wait in total: for its turn among the threads, a lock of the file, the
// lock of its path. All waits share the same time, so an operation of several steps waits no longer
// than one of a single step. Work is not counted, and an operation that does not wait reads no
// clock.
//
//   while (!try_lock()) {
//     if (!patience.pause(2ms)) throw ...;
//   }
//
// Used by one thread at a time.

#pragma once

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

namespace polycache::sqlite {

class Patience {
 public:
  explicit Patience(std::chrono::milliseconds limit) noexcept : limit_(limit), left_(limit) {}
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

  std::chrono::milliseconds limit() const noexcept { return limit_; }

  // Restores the whole limit: for the next operation.
  void renew() noexcept { left_ = limit_; }

  // Sleeps for that time, or for the rest if that is less. Returns false at once if nothing is
  // left.
  bool pause(std::chrono::nanoseconds time) {
    if (left_ <= left_.zero()) return false;
    const Spending spending(*this);
    std::this_thread::sleep_for(std::min(time, left_));
    return true;
  }

  // Waits for the lock until it is acquired or no time is left. Returns whether it was acquired.
  bool lock(std::unique_lock<std::timed_mutex>& lock) {
    if (lock.try_lock()) return true;
    if (left_ <= left_.zero()) return false;
    const Spending spending(*this);
    if (lock.try_lock_until(std::chrono::system_clock::now() + left_)) return true;
    left_ = left_.zero();  // regardless of the other clock
    return false;
  }

 private:
  class Spending {
   public:
    explicit Spending(Patience& of) : of_(of) {}
    Spending(const Spending&) = delete;
    Spending& operator=(const Spending&) = delete;
    ~Spending() { of_.left_ -= std::chrono::steady_clock::now() - start_; }

   private:
    Patience& of_;
    const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  };

  const std::chrono::milliseconds limit_;
  std::chrono::nanoseconds left_;
};

}  // namespace polycache::sqlite
