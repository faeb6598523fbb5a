// The time that an operation has.

#pragma once

#include <time.h>

#include <chrono>

namespace polycache::memcached {

// When something is, or must have ended.
using Instant = std::chrono::steady_clock::time_point;

// How far the cheap clock may be behind, at 250 ticks a second.
inline constexpr std::chrono::milliseconds kClockGrain(4);

// Of a clock that is cheap to read, and a little behind.
inline Instant coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return Instant(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

struct Term {
  Instant end;

  // It has all of that time, and up to a grain more.
  static Term of(std::chrono::milliseconds time) noexcept {
    return {coarse_now() + time + kClockGrain};
  }
  // Half of what is left of it.
  Term half() const noexcept {
    const Instant now = coarse_now();
    return {now + (end - now) / 2};
  }
};

}  // namespace polycache::memcached
