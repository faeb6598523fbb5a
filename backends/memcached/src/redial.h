// When to reconnect to a server after a failed attempt: after a pause that grows with each failure,
// and then with one thread; its success admits all others.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "polycache/author/clock.h"
#include "polycache/net/backoff.h"

namespace polycache::memcached {

// Thread-safe. While nothing fails, each call is one relaxed load.
class Redial {
 public:
  // A claim whose outcome is not reported within `longest_try` expires. `clock` must outlive it.
  Redial(const Clock& clock, std::chrono::milliseconds longest_try) noexcept;

  // Whether the caller may connect now. The caller then reports the outcome, with the moment when
  // the attempt began: concurrent failures count once.
  bool claim() noexcept { return not_before_.load(std::memory_order_relaxed) == 0 || claim_try(); }
  void succeeded() noexcept {
    if (not_before_.load(std::memory_order_relaxed) != 0) [[unlikely]]
      forget_failures();
  }
  void failed(std::int64_t begun) noexcept;
  std::int64_t now() const noexcept;

  // From a failure to the next success.
  bool is_pausing() const noexcept { return not_before_.load(std::memory_order_relaxed) != 0; }
  std::chrono::milliseconds pause_left() const noexcept;

 private:
  bool claim_try() noexcept;
  void forget_failures() noexcept;

  const Clock& clock_;
  const std::int64_t longest_try_;           // nanoseconds
  std::atomic<std::int64_t> not_before_{0};  // nanoseconds of the clock; 0: nothing failed
  // Only locked with try_lock: a thread that fails to lock it relies on the holder to set the
  // pause, and in a fork's child it may stay locked forever.
  std::mutex mutex_;
  Backoff pauses_;  // guarded by it, like the next one
  std::int64_t last_failure_ = 0;
};

}  // namespace polycache::memcached
