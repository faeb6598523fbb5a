// The algorithms of RateLimiter, without a store: from what an entry says to what it says after a
// use.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "polycache/rate_limiter.h"

namespace polycache::limits {

// Nanoseconds since 1970.
using Moment = std::int64_t;

struct Rate {
  RateAlgorithm algorithm;
  std::int64_t limit;
  std::int64_t period;  // nanoseconds
};

struct Step {
  RateVerdict verdict;
  std::string state = {};  // if allowed: what the entry says now
};

// `state`: what the entry says; empty, or of another algorithm, or damaged: there were no uses. A
// cost of 0 asks without a use.
Step use(const Rate& rate, std::string_view state, Moment now, std::int64_t cost);

// How long after a use an entry matters, at most.
inline std::chrono::nanoseconds life(const Rate& rate) noexcept {
  return std::chrono::nanoseconds(rate.period) *
         (rate.algorithm == RateAlgorithm::sliding_window ? 2 : 1);
}

}  // namespace polycache::limits
