// When a server that could not be connected to may be tried again: after a pause that grows
// with each failure, and then by one thread, whose success lets in all.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "polycache/author/clock.h"
#include "polycache/net/backoff.h"

namespace polycache::memcached {

// Thread-safe. As long as nothing fails, each call is one relaxed load.
class Redial {
 public:
  // `longest_try`: after that, who claimed a try and was not heard of again is forgotten.
  // `clock` must outlive it.
  Redial(const Clock& clock, std::chrono::milliseconds longest_try) noexcept;

  // Whether the caller may connect now. Whoever does reports how it ended, with the moment when
  // it began: of failures that happened together one counts.
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
  // Only ever tried: who does not get it leaves the pauses to the one who has it, and in a
  // fork's child it may be held for good.
  std::mutex mutex_;
  Backoff pauses_;  // guarded by it, like the next one
  std::int64_t last_failure_ = 0;
};

}  // namespace polycache::memcached
