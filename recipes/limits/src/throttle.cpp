#include "polycache/throttle.h"

#include <thread>

namespace polycache::detail {
namespace {

// A throttle has one subject.
constexpr std::string_view everything = "all";

RateLimiterOptions options_of(ThrottleOptions options) {
  return {.limit = options.limit,
          .period = options.period,
          .cache = std::move(options.cache),
          .registry = options.registry};
}

}  // namespace

ThrottleTurns::ThrottleTurns(KeyView name, ThrottleOptions options)
    : limiter_(name, options_of(std::move(options))) {}

ThrottleTurns::ThrottleTurns(Cache& cache, KeyView name, ThrottleOptions options)
    : limiter_(cache, name, options_of(std::move(options))) {}

bool ThrottleTurns::try_take() const { return limiter_.allow(everything).allowed; }

void ThrottleTurns::wait() const {
  for (;;) {
    const RateVerdict verdict = limiter_.allow(everything);
    if (verdict.allowed) return;
    std::this_thread::sleep_for(verdict.retry_after);
  }
}

}  // namespace polycache::detail
