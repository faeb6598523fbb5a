// The arithmetic of rate limits, without a store: from what is known of a subject to what is known
// after a use. Stores that offer LimitExtension, and the recipe RateLimiter over all others, do the
// same.
//
// The functions are pure, so they may be called by all threads at once.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

enum class RateAlgorithm : std::uint8_t {
  // A bucket holds `limit` tokens and gets a new one every period / limit: evens out, and allows
  // `limit` at once after a pause. Exact: the generic cell rate algorithm (ITU-T I.371), which
  // keeps one number.
  token_bucket,
  // A period begins with the first use after the last one ended. Simple, but lets twice the limit
  // pass in a short time around the end of a period.
  fixed_window,
  // At most `limit` in the last period, where the uses of the period before count by the share of
  // it that the last period covers. Two numbers; assumes that those uses were spread evenly.
  sliding_window,
};

struct RateVerdict {
  bool allowed = false;
  std::int64_t left = 0;                    // how many more would be allowed now
  std::chrono::milliseconds retry_after{};  // if not allowed: when it would be, without other uses
};

namespace rates {

// Microseconds since 1970. All numbers here are below 2^53, so that a store may calculate with
// floating-point numbers.
using Moment = std::int64_t;

struct Rate {
  RateAlgorithm algorithm = RateAlgorithm::token_bucket;
  std::int64_t limit = 0;              // uses in a period: from 1 to 10^9
  std::chrono::milliseconds period{};  // from 1 ms to 10 years
};

struct Step {
  RateVerdict verdict;
  std::string state = {};  // if allowed: what is known of the subject now
};

// Uses the subject's limit `cost` times, if that is allowed.
//
// `state` is a letter of the algorithm and numbers in digits, with a blank before each:
//   "b FULL REST"          token_bucket: the moment at which the bucket is full again is FULL and
//                          REST / limit microseconds
//   "f BEGIN USES"         fixed_window: when the period began, and its uses
//   "s BEGIN BEFORE USES"  sliding_window: the same, with the uses of the period before. Periods
//                          begin at multiples of their length
// A state that is empty, damaged, or of another algorithm says that there were no uses. One whose
// moments are ahead of `now` stems from a clock that is ahead, or was; it never blocks a subject
// for longer than life().
//
// A cost of 0 asks without a use. REQUIRES: 0 <= cost <= rate.limit, 0 <= now < 2^52
POLYCACHE_API Step use(const Rate& rate, std::string_view state, Moment now, std::int64_t cost);

// How long after a use a state matters, at most.
inline std::chrono::milliseconds life(const Rate& rate) noexcept {
  return rate.period * (rate.algorithm == RateAlgorithm::sliding_window ? 2 : 1);
}

}  // namespace rates
}  // namespace polycache
