// When an operation over the network ends.

#pragma once

#include <chrono>
#include <ctime>

#include "polycache/detail/export.h"  // C++20

namespace polycache::net {

using Deadline = std::chrono::steady_clock::time_point;

// How far the coarse clock may lag, at 250 ticks a second.
inline constexpr std::chrono::milliseconds clock_grain(4);

// Reads a coarse clock, which lags by up to clock_grain. It costs a fifth of the exact one, which
// is noticeable in an operation of a few microseconds.
[[gnu::hot]] inline Deadline coarse_now() noexcept {
  std::timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return Deadline(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

// The deadline is never early, and at most one grain late.
[[gnu::hot]] inline Deadline deadline_after(std::chrono::milliseconds limit) noexcept {
  return coarse_now() + limit + clock_grain;
}

// Rounded up, so that a wait does not repeatedly end just before the deadline.
[[gnu::hot]] inline std::chrono::milliseconds left_until(Deadline deadline) noexcept {
  return std::chrono::ceil<std::chrono::milliseconds>(deadline - coarse_now());
}

// After half of the time that is left.
inline Deadline halfway_to(Deadline deadline) noexcept {
  const Deadline now = coarse_now();
  return now + (deadline - now) / 2;
}

}  // namespace polycache::net
