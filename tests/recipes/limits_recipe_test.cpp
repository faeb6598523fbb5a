// RateLimiter, Throttle and Averager, on the simplest store with a clock that the test moves, and
// with threads on locmem. The first decides limits itself (LimitExtension), the second has an entry
// for each subject. Stores behind servers: tests/recipes/limit_stores_test.cpp.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "polycache/averager.h"
#include "polycache/backends/dummy.h"
#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/rate_limiter.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "polycache/throttle.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

class Limits : public ::testing::Test {
 protected:
  Limits()
      : registry_({.caches = {{"default", {.backend = "memory"}},
                              {"nothing", {.backend = "dummy"}},
                              {"chaos", {.backend = "memory", .layers = {{"chaos", {}}}}},
                              {"real", {.backend = "locmem"}}}},
                  {.clock = &clock_,
                   .linked_plugins = {&testing::memory_store, &testing::chaos_layer, &dummy::plugin,
                                      &locmem::plugin}}) {}

  RateLimiter limiter(RateAlgorithm algorithm, std::int64_t limit, milliseconds period,
                      const std::string& cache = "default") {
    return {"api",
            {.limit = limit,
             .period = period,
             .algorithm = algorithm,
             .cache = cache,
             .registry = &registry_}};
  }
  template <class F>
  void on_threads(int count, F f) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back(f);
    for (std::thread& thread : threads) thread.join();
  }

  testing::ManualClock clock_;
  CacheRegistry registry_;
};

constexpr RateAlgorithm all_algorithms[] = {
    RateAlgorithm::token_bucket, RateAlgorithm::fixed_window, RateAlgorithm::sliding_window};

TEST_F(Limits, ABucketIsRefilledEvenly) {
  const RateLimiter api = limiter(RateAlgorithm::token_bucket, 3, 3s);
  EXPECT_EQ(api.allow("a").left, 2);
  EXPECT_EQ(api.allow("a").left, 1);
  EXPECT_EQ(api.allow("a").left, 0);
  const RateVerdict refused = api.allow("a");
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.left, 0);
  EXPECT_EQ(refused.retry_after, 1s);
  EXPECT_TRUE(api.allow("b").allowed) << "each subject has a limit of its own";
  clock_.advance(999ms);
  EXPECT_EQ(api.allow("a").retry_after, 1ms);
  clock_.advance(1ms);
  EXPECT_TRUE(api.allow("a").allowed);
  EXPECT_FALSE(api.allow("a").allowed);
  clock_.advance(1h);
  EXPECT_EQ(api.peek("a").left, 3) << "no more than the limit gathers";
}

TEST_F(Limits, AFixedWindowBeginsWithTheFirstUse) {
  const RateLimiter api = limiter(RateAlgorithm::fixed_window, 2, 10s);
  clock_.advance(7s);
  EXPECT_TRUE(api.allow("a").allowed);
  clock_.advance(9s);
  EXPECT_TRUE(api.allow("a").allowed);
  EXPECT_EQ(api.allow("a").retry_after, 1s);
  clock_.advance(1s);
  EXPECT_EQ(api.allow("a").left, 1);
}

TEST_F(Limits, ASlidingWindowCountsThePeriodBeforeByItsShare) {
  const RateLimiter api = limiter(RateAlgorithm::sliding_window, 10, 10s);
  // The clock begins at a multiple of ten seconds.
  clock_.advance(9s);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(api.allow("a").allowed);
  EXPECT_FALSE(api.allow("a").allowed);
  clock_.advance(1s);  // all ten count
  EXPECT_EQ(api.allow("a").retry_after, 1s);
  clock_.advance(5s);  // five count
  EXPECT_EQ(api.peek("a").left, 5);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(api.allow("a").allowed);
  EXPECT_EQ(api.allow("a").retry_after, 1s);
}

TEST_F(Limits, ACallMayCostSeveralUses) {
  for (const RateAlgorithm algorithm : all_algorithms) {
    const RateLimiter api = limiter(algorithm, 10, 10s);
    api.reset("a");
    EXPECT_EQ(api.allow("a", 7).left, 3);
    EXPECT_FALSE(api.allow("a", 4).allowed);
    EXPECT_TRUE(api.allow("a", 3).allowed) << "what was refused counts for nothing";
    EXPECT_FALSE(api.allow("a").allowed);
  }
}

// Whatever the uses: after that time a call is allowed, and a millisecond before it is not.
TEST_F(Limits, RetryAfterIsTheFirstMomentThatIsAllowed) {
  std::mt19937_64 random(20261130);
  for (const RateAlgorithm algorithm : all_algorithms) {
    for (int round = 0; round < 300; ++round) {
      const auto limit = static_cast<std::int64_t>(1 + random() % 20);
      const milliseconds period(1 + random() % 5000);
      const RateLimiter api = limiter(algorithm, limit, period);
      api.reset("a");
      for (int step = 0; step < 30; ++step) {
        clock_.advance(milliseconds(random() % 1000));
        const auto cost =
            static_cast<std::int64_t>(1 + random() % static_cast<std::uint64_t>(limit));
        const RateVerdict verdict = api.allow("a", cost);
        EXPECT_GE(verdict.left, 0);
        if (verdict.allowed) continue;
        ASSERT_GT(verdict.retry_after, 0ms);
        clock_.advance(verdict.retry_after - 1ms);
        ASSERT_FALSE(api.allow("a", cost).allowed)
            << static_cast<int>(algorithm) << ' ' << limit << ' ' << period.count();
        clock_.advance(1ms);
        ASSERT_TRUE(api.allow("a", cost).allowed)
            << static_cast<int>(algorithm) << ' ' << limit << ' ' << period.count();
      }
    }
  }
}

TEST_F(Limits, NoPeriodHasMoreThanItsAlgorithmAllows) {
  std::mt19937_64 random(7);
  for (const RateAlgorithm algorithm : all_algorithms) {
    const RateLimiter api = limiter(algorithm, 10, 1s);
    std::vector<std::chrono::system_clock::time_point> allowed;
    for (int i = 0; i < 5000; ++i) {
      clock_.advance(milliseconds(random() % 40));
      if (api.allow("a").allowed) allowed.push_back(clock_.system_now());
    }
    // After a pause a bucket gives its ten, and ten more within the second; a window as many.
    std::size_t most = 0;
    for (std::size_t begin = 0, end = 0; end < allowed.size(); ++end) {
      while (allowed[end] - allowed[begin] >= 1s) ++begin;
      most = std::max(most, end - begin + 1);
    }
    EXPECT_LE(most, 20U);
    const auto seconds = (allowed.back() - allowed.front()) / 1s;
    EXPECT_LE(allowed.size(), static_cast<std::size_t>(10 * (seconds + 2)));
    EXPECT_GE(allowed.size(), static_cast<std::size_t>(8 * seconds)) << "less than it should";
  }
}

TEST_F(Limits, PeekUsesNothingAndResetForgets) {
  for (const RateAlgorithm algorithm : all_algorithms) {
    const RateLimiter api = limiter(algorithm, 1, 1min);
    api.reset("a");
    EXPECT_TRUE(api.peek("a").allowed);
    EXPECT_EQ(api.peek("a").left, 1);
    EXPECT_TRUE(api.allow("a").allowed);
    EXPECT_FALSE(api.peek("a").allowed);
    EXPECT_EQ(api.peek("a").retry_after, api.allow("a").retry_after);
    EXPECT_TRUE(api.reset("a"));
    EXPECT_FALSE(api.reset("a"));
    EXPECT_TRUE(api.allow("a").allowed);
  }
}

TEST_F(Limits, AnEntryGoesWhenItSaysNothingAnyMore) {
  for (const RateAlgorithm algorithm : all_algorithms) {
    const RateLimiter api = limiter(algorithm, 5, 10s, "real");
    api.allow("a");
    EXPECT_TRUE(registry_["real"].contains("api:a"));
    clock_.advance(20s);
    EXPECT_FALSE(registry_["real"].contains("api:a"));
  }
}

// RateLimiter("a:b") with "c" and RateLimiter("a") with "b:c" once had one key.
TEST_F(Limits, NamesAndSubjectsWithColonsShareNoLimit) {
  for (const std::string cache : {"default", "real"}) {
    const RateLimiterOptions once{
        .limit = 1, .period = 10s, .cache = cache, .registry = &registry_};
    const RateLimiter longer("a:b", once);
    const RateLimiter shorter("a", once);
    EXPECT_TRUE(longer.allow("c").allowed);
    EXPECT_TRUE(shorter.allow("b:c").allowed);
    EXPECT_TRUE(shorter.allow("b%3Ac").allowed);
    EXPECT_FALSE(shorter.peek("b:c").allowed);
  }
}

TEST_F(Limits, ANullPointerAsATextIsAnInvalidKey) {
  const char* const null = nullptr;
  EXPECT_THROW(RateLimiter(null, {.limit = 1, .period = 1s}), InvalidKey);
  EXPECT_THROW(Throttle(null, [] {}, {.limit = 1, .period = 1s}), InvalidKey);
  EXPECT_THROW(Averager{null}, InvalidKey);
  const RateLimiter api = limiter(RateAlgorithm::token_bucket, 3, 3s);
  EXPECT_THROW(api.allow(null), InvalidKey);
  EXPECT_THROW(api.peek(null), InvalidKey);
  EXPECT_THROW(api.reset(null), InvalidKey);
}

TEST_F(Limits, AStoreThatDecidesItselfHasNoEntry) {
  ASSERT_NE(registry_["default"].extension<LimitExtension>(), nullptr);
  ASSERT_EQ(registry_["real"].extension<LimitExtension>(), nullptr);
  limiter(RateAlgorithm::fixed_window, 5, 10s).allow("a");
  EXPECT_FALSE(registry_["default"].contains("api:a"));
}

// Whatever the uses.
TEST_F(Limits, AStoreThatDecidesItselfSaysTheSameAsAnEntry) {
  std::mt19937_64 random(20261130);
  for (const RateAlgorithm algorithm : all_algorithms) {
    for (int round = 0; round < 50; ++round) {
      const auto limit = static_cast<std::int64_t>(1 + random() % 20);
      const milliseconds period(1 + random() % 5000);
      const RateLimiter store = limiter(algorithm, limit, period);
      const RateLimiter entry = limiter(algorithm, limit, period, "real");
      EXPECT_EQ(store.reset("a"), entry.reset("a"));
      for (int step = 0; step < 40; ++step) {
        clock_.advance(milliseconds(random() % 1000));
        const auto cost =
            static_cast<std::int64_t>(1 + random() % static_cast<std::uint64_t>(limit));
        for (const bool asks : {true, false}) {
          const RateVerdict one = asks ? store.peek("a") : store.allow("a", cost);
          const RateVerdict other = asks ? entry.peek("a") : entry.allow("a", cost);
          ASSERT_EQ(one.allowed, other.allowed);
          ASSERT_EQ(one.left, other.left);
          ASSERT_EQ(one.retry_after, other.retry_after);
        }
      }
    }
  }
}

TEST_F(Limits, AnEntryOfAnotherAlgorithmOrDamagedOneBeginsAnew) {
  for (const char* const entry : {"", "b", "b 1", "b 1 x", "b -1 0", "b 99999999999999999999 0",
                                  "f 1 2 3", "s 1 2", "json", "f 9007199254740992 1", "b -0 0"}) {
    for (const RateAlgorithm algorithm : all_algorithms) {
      registry_["real"].set("api:a", entry);
      EXPECT_EQ(limiter(algorithm, 5, 10s, "real").allow("a").left, 4) << entry;
    }
  }
}

// Another machine's clock may be ahead, and one of ours may be set back: neither locks a subject
// for longer than the entry lives, nor opens it.
TEST_F(Limits, AClockThatIsSetBackNeitherOpensNorLocksForLong) {
  for (const RateAlgorithm algorithm : all_algorithms) {
    const RateLimiter api = limiter(algorithm, 2, 10s);
    api.reset("a");
    const auto now = clock_.system_now();
    clock_.set_wall_clock(now + 5s);
    api.allow("a", 2);
    clock_.set_wall_clock(now);
    EXPECT_FALSE(api.allow("a").allowed);
    clock_.advance(20s);
    EXPECT_TRUE(api.allow("a").allowed);
  }
}

TEST_F(Limits, ThreadsTogetherGetNoMoreThanTheLimit) {
  for (const RateAlgorithm algorithm : all_algorithms) {
    const RateLimiter api = limiter(algorithm, 100, 1h, "real");
    api.reset("a");
    std::atomic<int> allowed{0};
    on_threads(8, [&] {
      for (int i = 0; i < 50; ++i) allowed += api.allow("a").allowed ? 1 : 0;
    });
    EXPECT_EQ(allowed, 100);
  }
}

TEST_F(Limits, AStoreThatKeepsNothingAllowsAll) {
  const RateLimiter api = limiter(RateAlgorithm::token_bucket, 1, 1h, "nothing");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(api.allow("a").allowed);
}

TEST_F(Limits, AStoreThatFailsAllowsNothing) {
  const RateLimiter api = limiter(RateAlgorithm::token_bucket, 1, 1h, "chaos");
  testing::Chaos::named("chaos", clock_)->set({.fail = 1});
  EXPECT_THROW(api.allow("a"), BackendError);
  EXPECT_THROW(api.peek("a"), BackendError);
  int runs = 0;
  const Throttle throttle("t", [&] { ++runs; },
                          {.limit = 1, .period = 1s, .cache = "chaos", .registry = &registry_});
  EXPECT_THROW(throttle(), BackendError);
  EXPECT_THROW(throttle.try_call(), BackendError);
  EXPECT_EQ(runs, 0);
}

TEST_F(Limits, WhatMakesNoSenseIsRefusedByName) {
  const auto message = [&](auto make) {
    try {
      make();
    } catch (const ValueError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const auto made = [&](std::string name, std::int64_t limit, milliseconds period) {
    return message([&] { RateLimiter(std::move(name), {.limit = limit, .period = period}); });
  };
  EXPECT_THAT(made("api", 0, 1s), HasSubstr("RateLimiter \"api\": a limit of 0"));
  EXPECT_THAT(made("api", -1, 1s), HasSubstr("a limit of -1"));
  EXPECT_THAT(made("api", 1'000'000'001, 1s), HasSubstr("from 1 to 1000000000"));
  EXPECT_THAT(made("api", 1, 0s), HasSubstr("a period of 0 ms"));
  EXPECT_THAT(made("api", 1, milliseconds::max()), HasSubstr("ten years"));
  EXPECT_THAT(made("", 1, 1s), HasSubstr("the name is empty"));
  const RateLimiter api = limiter(RateAlgorithm::token_bucket, 5, 1s);
  EXPECT_THAT(message([&] { api.allow("a", 0); }), HasSubstr("a cost of 0"));
  EXPECT_THAT(message([&] { api.allow("a", 6); }), HasSubstr("the limit, which is 5"));
  EXPECT_THAT(message([&] { Averager(""); }), HasSubstr("the name is empty"));
}

TEST_F(Limits, ExtremesDoNotOverflow) {
  for (const RateAlgorithm algorithm : all_algorithms) {
    const RateLimiter large = limiter(algorithm, 1'000'000'000, 24h * 365 * 10);
    large.reset("a");
    EXPECT_EQ(large.allow("a", 1'000'000'000).left, 0);
    const RateVerdict refused = large.allow("a", 1'000'000'000);
    EXPECT_FALSE(refused.allowed);
    EXPECT_GT(refused.retry_after, 24h * 365);
    EXPECT_LE(refused.retry_after, 24h * 365 * 20);
    const RateLimiter fast = limiter(algorithm, 1'000'000'000, 1ms);
    fast.reset("a");
    EXPECT_EQ(fast.allow("a").left, 999'999'999);
  }
}

TEST(ThrottleTest, CallersWaitForTheirTurn) {
  CacheRegistry registry({.caches = {{"default", {.backend = "locmem"}}}},
                         {.linked_plugins = {&locmem::plugin}});
  std::atomic<int> runs{0};
  const Throttle throttle("t", [&](int n) { return runs += n; },
                          {.limit = 2, .period = 200ms, .registry = &registry});
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) threads.emplace_back([&] { throttle(1); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(runs, 6);
  // Two at once, then one each 100 ms. The two clocks may differ by a little.
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 390ms);
  EXPECT_EQ(throttle.original()(1), 7);
}

TEST_F(Limits, AThrottleCallsOrSaysThatItMayNot) {
  const ThrottleOptions options{.limit = 1, .period = 1s, .registry = &registry_};
  const Throttle number(
      "number", [] { return 5; }, options);
  EXPECT_EQ(number.try_call(), 5);
  EXPECT_EQ(number.try_call(), std::nullopt);
  clock_.advance(1s);
  EXPECT_EQ(number(), 5);
  int runs = 0;
  const Throttle nothing(
      "nothing", [&](int by) { runs += by; }, options);
  EXPECT_TRUE(nothing.try_call(2));
  EXPECT_FALSE(nothing.try_call(2));
  EXPECT_EQ(runs, 2);
  const Throttle failing(
      registry_["default"], "failing", []() -> int { throw std::out_of_range("mine"); }, options);
  EXPECT_THROW(failing(), std::out_of_range);
  EXPECT_EQ(failing.try_call(), std::nullopt) << "it has used its turn";
  EXPECT_EQ(failing.name(), "failing");
}

class AveragerTest : public Limits {
 protected:
  AveragerOptions here(const std::string& cache = "default") {
    return {.cache = cache, .registry = &registry_};
  }
};

TEST_F(AveragerTest, HasTheMeanOfWhatWasAdded) {
  const Averager latency("latency", here());
  EXPECT_EQ(latency.mean(), std::nullopt);
  EXPECT_EQ(latency.pop(), std::nullopt);
  latency.add(1);
  latency.add(2.5);
  latency.add(-0.5);
  EXPECT_EQ(latency.mean(), 1.0);
  EXPECT_EQ(latency.pop(), 1.0);
  EXPECT_EQ(latency.mean(), std::nullopt);
  latency.add(0.1);
  EXPECT_EQ(latency.mean(), 0.1) << "numbers stay exact";
}

TEST_F(AveragerTest, StaysForEverUnlessToldOtherwise) {
  registry_["default"];
  const Averager kept("kept", here());
  AveragerOptions options = here();
  options.timeout = 10s;
  const Averager lost(registry_["default"], "lost", options);
  kept.add(1);
  lost.add(1);
  clock_.advance(9s);
  lost.add(2);
  clock_.advance(9s);
  EXPECT_EQ(lost.mean(), 1.5);
  clock_.advance(1s);
  EXPECT_EQ(lost.mean(), std::nullopt);
  clock_.advance(24h * 365);
  EXPECT_EQ(kept.mean(), 1.0);
}

TEST_F(AveragerTest, RefusesWhatHasNoMean) {
  const Averager latency("latency", here());
  for (const double value : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_THROW(latency.add(value), ValueError);
  }
  latency.add(std::numeric_limits<double>::max());
  EXPECT_THROW(latency.add(std::numeric_limits<double>::max()), ValueError);
  EXPECT_EQ(latency.mean(), std::numeric_limits<double>::max());
  for (const char* const entry : {"text", "3", "0 1", "-1 1", "1 nan", "1 2 3", ""}) {
    registry_["default"].set("latency", entry);
    EXPECT_THROW(latency.add(1), ValueError) << entry;
    EXPECT_THROW(latency.mean(), ValueError) << entry;
    EXPECT_EQ(registry_["default"].get("latency"), entry);
    EXPECT_THROW(latency.pop(), ValueError) << entry;
  }
}

TEST_F(AveragerTest, LosesNothingBetweenThreads) {
  const Averager all("all", here("real"));
  std::atomic<int> popped{0};
  on_threads(8, [&] {
    for (int i = 0; i < 50; ++i) all.add(2);
    if (all.pop()) ++popped;
  });
  const std::optional<double> rest = all.mean();
  EXPECT_TRUE(!rest || *rest == 2.0);
  EXPECT_GE(popped, 1);
  EXPECT_EQ(all.pop(), rest);
}

}  // namespace
}  // namespace polycache
