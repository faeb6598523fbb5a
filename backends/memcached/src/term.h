// The time limit of an operation.

#pragma once

#include <chrono>

#include "polycache/net/deadline.h"

namespace polycache::memcached {

// When something ends, must end, or has ended.
using Instant = net::Deadline;

// Of a clock that is cheap to read and lags slightly.
using net::coarse_now;

struct Term {
  Instant end;

  // Ends after all of that time, and up to one grain later.
  static Term of(std::chrono::milliseconds time) noexcept { return {net::deadline_after(time)}; }
  // Half of the time that is left.
  Term half() const noexcept {
    const Instant now = coarse_now();
    return {now + (end - now) / 2};
  }
};

}  // namespace polycache::memcached
