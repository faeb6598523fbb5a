// The part of the conformance suite about rate limits: the extension limit/1.
// backend_conformance.h includes it.

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

// The limit of one test, by its final key.
class LimitUnderTest {
 public:
  explicit LimitUnderTest(rates::Rate rate) : rate_(rate) {
    static std::atomic<int> count{0};
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    key_ = "p:~k:{r." + std::to_string(now.count()) + "-" + std::to_string(++count) + "}";
  }

  LimitExtension::Used use(Cache& cache, std::int64_t cost = 1) const {
    return of(cache).use({.key = key_, .rate = rate_, .cost = cost});
  }
  bool forget(Cache& cache) const { return of(cache).forget(key_); }

  // What the store said follows from what it knew, and that is what it said before. One use that
  // fails is enough.
  void use_and_check(Cache& cache, std::int64_t cost) {
    const LimitExtension::Used used = use(cache, cost);
    const bool may_be_forgotten = used.now >= last_ + std::chrono::microseconds(life()).count();
    ASSERT_TRUE(used.before == state_ || (may_be_forgotten && used.before.empty()))
        << used.before << ", not " << state_;
    ASSERT_GE(used.now, last_);
    const rates::Step step = rates::use(rate_, used.before, used.now, cost);
    ASSERT_EQ(used.allowed, step.verdict.allowed)
        << static_cast<int>(rate_.algorithm) << ' ' << rate_.limit << ' ' << rate_.period.count()
        << ' ' << used.before << ' ' << used.now << ' ' << cost;
    state_ = used.before;
    if (!used.allowed || cost == 0) return;
    state_ = step.state;
    last_ = used.now;
  }

 private:
  static LimitExtension& of(Cache& cache) { return *cache.extension<LimitExtension>(); }
  std::chrono::milliseconds life() const { return rates::life(rate_); }

  rates::Rate rate_;
  std::string key_;
  std::string state_;
  rates::Moment last_ = 0;  // use that was counted
};

inline constexpr RateAlgorithm all_rate_algorithms[] = {
    RateAlgorithm::token_bucket, RateAlgorithm::fixed_window, RateAlgorithm::sliding_window};

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, AStoreHasLimitsIfItsQuirksSaySo) {
  EXPECT_EQ(store().extension<LimitExtension>() != nullptr, quirks().has_limits);
}

TEST_P(BackendConformance, UsesOfALimitFollowTheArithmetic) {
  if (!quirks().has_limits) return;
  std::mt19937_64 random(20261130);
  const std::uint64_t longest = quirks().own_clock ? 30 : 3000;
  for (const RateAlgorithm algorithm : all_rate_algorithms) {
    for (int round = 0; round < 20; ++round) {
      const auto limit = static_cast<std::int64_t>(1 + random() % 20);
      LimitUnderTest tested({algorithm, limit, std::chrono::milliseconds(1 + random() % longest)});
      for (int i = 0; i < 40; ++i) {
        if (!quirks().own_clock) pass(std::chrono::milliseconds(random() % 200));
        const auto most = static_cast<std::uint64_t>(limit) + 1;
        tested.use_and_check(store(), static_cast<std::int64_t>(random() % most));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(BackendConformance, AskingAboutALimitChangesNothing) {
  if (!quirks().has_limits) return;
  for (const RateAlgorithm algorithm : all_rate_algorithms) {
    const LimitUnderTest tested({algorithm, 1, std::chrono::hours(24 * 365)});
    EXPECT_TRUE(tested.use(store(), 0).allowed);
    EXPECT_TRUE(tested.use(store()).allowed);
    EXPECT_TRUE(tested.use(store(), 0).allowed) << "nothing more is used";
    EXPECT_FALSE(tested.use(store()).allowed);
  }
}

TEST_P(BackendConformance, AForgottenLimitBeginsAnew) {
  if (!quirks().has_limits) return;
  for (const RateAlgorithm algorithm : all_rate_algorithms) {
    const LimitUnderTest tested({algorithm, 1, std::chrono::hours(24 * 365)});
    EXPECT_FALSE(tested.forget(store()));
    EXPECT_TRUE(tested.use(store()).allowed);
    EXPECT_FALSE(tested.use(store()).allowed);
    EXPECT_TRUE(tested.forget(store()));
    EXPECT_TRUE(tested.use(store()).allowed);
  }
}

TEST_P(BackendConformance, ThreadsTogetherUseNoMoreThanALimit) {
  if (!quirks().has_limits) return;
  for (const RateAlgorithm algorithm : all_rate_algorithms) {
    Winners winners{};
    std::array<std::optional<LimitUnderTest>, most_rounds> limits;
    for (auto& limit : limits) {
      limit.emplace(rates::Rate{algorithm, 1, std::chrono::hours(24 * 365)});
    }
    const int rounds = in_rounds([&](int round, int) {
      const auto i = static_cast<std::size_t>(round);
      if (limits.at(i)->use(store()).allowed) ++winners.at(i);
    });
    EXPECT_EQ(unfair(winners, rounds), 0);
  }
}

#endif

}  // namespace polycache::testing
