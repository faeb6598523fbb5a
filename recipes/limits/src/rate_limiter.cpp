#include "polycache/rate_limiter.h"

#include <optional>
#include <utility>

#include "checks.h"
#include "polycache/author/clock.h"
#include "rate.h"

namespace polycache {
namespace {

// What an entry says.
using State = std::optional<std::string>;

limits::Rate rate_of(const RateLimiterOptions& options) noexcept {
  return {options.algorithm, options.limit,
          std::chrono::duration_cast<std::chrono::nanoseconds>(options.period).count()};
}

limits::Moment now_of(const Cache& cache) noexcept {
  const auto now = cache.clock().system_now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}  // namespace

RateLimiter::RateLimiter(std::string name, const RateLimiterOptions& options)
    : RateLimiter(CacheHandle(options.cache, options.registry), std::move(name), options) {}

RateLimiter::RateLimiter(Cache& cache, std::string name, RateLimiterOptions options)
    : RateLimiter(CacheHandle(cache), std::move(name), std::move(options)) {}

RateLimiter::RateLimiter(CacheHandle cache, std::string name, RateLimiterOptions options)
    : cache_(std::move(cache)), name_(std::move(name)), options_(std::move(options)) {
  limits::check_name("RateLimiter", name_);
  limits::check_rate("RateLimiter", name_, options_.limit, options_.period);
}

RateVerdict RateLimiter::allow(std::string_view subject, std::int64_t cost) const {
  if (cost < 1 || cost > options_.limit) {
    throw limits::refused("RateLimiter", name_,
                          "a cost of " + std::to_string(cost) +
                              " can never be allowed; give one from 1 to the limit, which is " +
                              std::to_string(options_.limit));
  }
  Cache& cache = cache_.get();
  const limits::Rate rate = rate_of(options_);
  RateVerdict verdict;
  cache.update<std::string>(
      key_of(subject),
      [&](const State& state) -> State {
        limits::Step step = limits::use(rate, state.value_or(""), now_of(cache), cost);
        verdict = step.verdict;
        if (!verdict.allowed) return std::nullopt;
        return std::move(step.state);
      },
      std::chrono::ceil<std::chrono::milliseconds>(limits::life(rate)));
  return verdict;
}

RateVerdict RateLimiter::peek(std::string_view subject) const {
  Cache& cache = cache_.get();
  const limits::Rate rate = rate_of(options_);
  RateVerdict verdict;
  // Unlike get(), this does not take a failing store for one without an entry.
  cache.update<std::string>(key_of(subject), [&](const State& state) -> State {
    const limits::Moment now = now_of(cache);
    verdict = limits::use(rate, state.value_or(""), now, 1).verdict;
    verdict.left = limits::use(rate, state.value_or(""), now, 0).verdict.left;
    return std::nullopt;
  });
  return verdict;
}

bool RateLimiter::reset(std::string_view subject) const {
  return cache_.get().erase(key_of(subject));
}

}  // namespace polycache
