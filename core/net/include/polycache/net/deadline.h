// When an operation over the network ends.

#pragma once

#include <chrono>
#include <ctime>

namespace polycache::net {

using Deadline = std::chrono::steady_clock::time_point;

// How far the coarse clock may be behind, at 250 ticks a second.
inline constexpr std::chrono::milliseconds kClockGrain(4);

// Of a coarse clock, a fifth of the price of the exact one, which an operation of some
// microseconds notices. Up to kClockGrain behind.
[[gnu::hot]] inline Deadline coarse_now() noexcept {
  std::timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return Deadline(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

// After all of that time, and up to a grain more.
[[gnu::hot]] inline Deadline deadline_after(std::chrono::milliseconds limit) noexcept {
  return coarse_now() + limit + kClockGrain;
}

// Rounded up: a wait must not end a moment before the deadline again and again.
[[gnu::hot]] inline std::chrono::milliseconds left_until(Deadline deadline) noexcept {
  return std::chrono::ceil<std::chrono::milliseconds>(deadline - coarse_now());
}

}  // namespace polycache::net
