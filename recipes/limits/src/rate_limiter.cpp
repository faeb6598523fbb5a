#include "polycache/rate_limiter.h"

#include <optional>
#include <utility>

#include "checks.h"
#include "polycache/author/clock.h"
#include "polycache/author/extension.h"

namespace polycache {
namespace {

using rates::Rate;

// What an entry says.
using State = std::optional<std::string>;

constexpr std::string_view lack_of_limits = "has no limits";

Rate rate_of(const RateLimiterOptions& options) noexcept {
  return {options.algorithm, options.limit, options.period};
}

// Limits and locks of one name do not meet.
std::string stored_as(const std::string& key) { return "r." + key; }

// A cost of 0 asks: whether one use would be allowed, and how many.
RateVerdict verdict_of(const Rate& rate, std::string_view state, rates::Moment now,
                       std::int64_t cost) {
  if (cost > 0) return rates::use(rate, state, now, cost).verdict;
  RateVerdict verdict = rates::use(rate, state, now, 1).verdict;
  verdict.left = rates::use(rate, state, now, 0).verdict.left;
  return verdict;
}

// By an extension of the store.
RateVerdict use_limit(Cache& cache, const std::string& key, const Rate& rate, std::int64_t cost) {
  LimitExtension::Used used;
  cache.with_extension<LimitExtension>(
      Op::use_limit, stored_as(key), lack_of_limits,
      [&](LimitExtension& limits, std::string_view final_key) {
        used = limits.use({.key = final_key, .rate = rate, .cost = cost});
        return used.allowed;
      });
  RateVerdict verdict = verdict_of(rate, used.before, used.now, cost);
  if (cost > 0) verdict.allowed = used.allowed;
  return verdict;
}

// By an entry. Unlike get(), update() does not take a failing store for one without an entry.
RateVerdict update_entry(Cache& cache, const std::string& key, const Rate& rate,
                         std::int64_t cost) {
  RateVerdict verdict;
  cache.update<std::string>(
      key,
      [&](const State& state) -> State {
        const rates::Moment now =
            cache.clock().system_now().time_since_epoch() / std::chrono::microseconds(1);
        verdict = verdict_of(rate, state.value_or(""), now, cost);
        if (!verdict.allowed || cost == 0) return std::nullopt;
        return rates::use(rate, state.value_or(""), now, cost).state;
      },
      rates::life(rate));
  return verdict;
}

}  // namespace

RateLimiter::RateLimiter(KeyView name, const RateLimiterOptions& options)
    : RateLimiter(CacheHandle(options.cache, options.registry), name, options) {}

RateLimiter::RateLimiter(Cache& cache, KeyView name, RateLimiterOptions options)
    : RateLimiter(CacheHandle(cache), name, std::move(options)) {}

RateLimiter::RateLimiter(CacheHandle cache, KeyView name, RateLimiterOptions options)
    : cache_(std::move(cache)), name_(name.text()), options_(std::move(options)) {
  limits::check_name("RateLimiter", name_);
  limits::check_rate("RateLimiter", name_, options_.limit, options_.period);
}

RateVerdict RateLimiter::use(KeyView subject, std::int64_t cost) const {
  Cache& cache = cache_.get();
  const bool by_store = cache.extension<LimitExtension>() != nullptr;
  return (by_store ? use_limit : update_entry)(cache, key_of(subject), rate_of(options_), cost);
}

RateVerdict RateLimiter::allow(KeyView subject, std::int64_t cost) const {
  if (cost < 1 || cost > options_.limit) {
    throw limits::refused("RateLimiter", name_,
                          "a cost of " + std::to_string(cost) +
                              " can never be allowed; give one from 1 to the limit, which is " +
                              std::to_string(options_.limit));
  }
  return use(subject, cost);
}

RateVerdict RateLimiter::peek(KeyView subject) const { return use(subject, 0); }

bool RateLimiter::reset(KeyView subject) const {
  Cache& cache = cache_.get();
  const std::string key = key_of(subject);
  if (cache.extension<LimitExtension>() == nullptr) return cache.erase(key);
  return cache.with_extension<LimitExtension>(
      Op::forget_limit, stored_as(key), lack_of_limits,
      [&](LimitExtension& limits, std::string_view final_key) { return limits.forget(final_key); });
}

}  // namespace polycache
