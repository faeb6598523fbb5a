// The time that an operation has.

#pragma once

#include <chrono>

#include "polycache/net/deadline.h"

namespace polycache::memcached {

// When something is, or must have ended.
using Instant = net::Deadline;

// Of a clock that is cheap to read, and a little behind.
using net::coarse_now;

struct Term {
  Instant end;

  // It has all of that time, and up to a grain more.
  static Term of(std::chrono::milliseconds time) noexcept { return {net::deadline_after(time)}; }
  // Half of what is left of it.
  Term half() const noexcept {
    const Instant now = coarse_now();
    return {now + (end - now) / 2};
  }
};

}  // namespace polycache::memcached
