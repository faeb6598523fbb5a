// A clock that advances only when a test moves it.
//
//   polycache::testing::ManualClock clock;
//   polycache::CacheRegistry registry(config, {.clock = &clock});
//   registry["default"].set("k", "v", 10s);
//   clock.advance(10s);
//   EXPECT_FALSE(registry["default"].get("k"));
//
// It must outlive every registry that uses it. Thread-safe.

#pragma once

#include <atomic>
#include <chrono>

#include "polycache/author/clock.h"

namespace polycache::testing {

class ManualClock final : public Clock {
 public:
  std::chrono::steady_clock::time_point steady_now() const noexcept override {
    return std::chrono::steady_clock::time_point(
        std::chrono::nanoseconds(steady_.load(std::memory_order_relaxed)));
  }
  std::chrono::system_clock::time_point system_now() const noexcept override {
    return std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(
            std::chrono::nanoseconds(system_.load(std::memory_order_relaxed))));
  }

  // Advances both clocks.
  void advance(std::chrono::nanoseconds by) noexcept {
    steady_.fetch_add(by.count(), std::memory_order_relaxed);
    system_.fetch_add(by.count(), std::memory_order_relaxed);
  }

  // Sets the wall clock; the steady clock does not change.
  void set_wall_clock(std::chrono::system_clock::time_point to) noexcept {
    system_.store(
        std::chrono::duration_cast<std::chrono::nanoseconds>(to.time_since_epoch()).count(),
        std::memory_order_relaxed);
  }

 private:
  std::atomic<std::chrono::nanoseconds::rep> steady_{1'000'000'000'000};
  std::atomic<std::chrono::nanoseconds::rep> system_{1'700'000'000'000'000'000};
};

}  // namespace polycache::testing
