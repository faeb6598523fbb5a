// RateLimiter over stores behind servers: how often it asks them, and who decides.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "polycache/polycache.h"
#include "polycache/rate_limiter.h"
#include "support/gate.h"
#include "support/process_stores.h"

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;

constexpr RateAlgorithm all_algorithms[] = {
    RateAlgorithm::token_bucket, RateAlgorithm::fixed_window, RateAlgorithm::sliding_window};

// A redis behind a gate that counts its replies.
class RedisRoundTrips : public ::testing::Test {
 protected:
  RedisRoundTrips() {
    gate_.set({.rewrite = [this](std::string&, std::size_t position) {
      if (position == 0) ++replies_;
    }});
  }

  template <class F>
  int round_trips(F f) {
    const int before = replies_;
    f();
    return replies_ - before;
  }

  const std::unique_ptr<Server> server_ = Server::redis();
  std::atomic<int> replies_{0};
  Gate gate_{server_->port()};
  CacheRegistry registry_{{.caches = {{"default",
                                       {.backend = "redis",
                                        .location = {"redis://" + gate_.address()},
                                        .key_prefix = "shop",
                                        .options = patient_options("redis")}}}},
                          environment_of_all_stores()};
};

TEST_F(RedisRoundTrips, AUseOfALimitIsOne) {
  for (const RateAlgorithm algorithm : all_algorithms) {
    const RateLimiter api(
        "api" + std::to_string(static_cast<int>(algorithm)),
        {.limit = 3, .period = 24h, .algorithm = algorithm, .registry = &registry_});
    api.allow("warm");  // connects, and sends the script
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(round_trips([&] { EXPECT_EQ(api.allow("a").allowed, i < 3); }), 1);
    }
    EXPECT_EQ(round_trips([&] { EXPECT_FALSE(api.peek("a").allowed); }), 1);
    EXPECT_EQ(round_trips([&] { EXPECT_TRUE(api.reset("a")); }), 1);
    EXPECT_EQ(round_trips([&] { EXPECT_EQ(api.allow("a", 2).left, 1); }), 1);
  }
}

// By update() a thread would ask again whenever another one was faster.
TEST_F(RedisRoundTrips, UsesOfManyThreadsAreOneEach) {
  constexpr int threads = 8;
  constexpr int uses = 50;
  const RateLimiter api("api", {.limit = 1000, .period = 24h, .registry = &registry_});
  const auto use = [&](int count) {
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) {
      all.emplace_back([&, count] {
        for (int j = 0; j < count; ++j) EXPECT_TRUE(api.allow("a").allowed);
      });
    }
    for (std::thread& thread : all) thread.join();
  };
  use(1);
  const auto connections = gate_.connections_ever();
  const int trips = round_trips([&] { use(uses); });
  // A new connection begins with a greeting.
  const auto greetings = static_cast<int>(gate_.connections_ever() - connections);
  EXPECT_GE(trips, threads * uses);
  EXPECT_LE(trips, threads * uses + 3 * greetings);
  EXPECT_EQ(api.peek("a").left, 1000 - threads * (uses + 1));
}

TEST_F(RedisRoundTrips, ALimitIsFreedByClear) {
  const RateLimiter api("api", {.limit = 1, .period = 24h, .registry = &registry_});
  EXPECT_TRUE(api.allow("a").allowed);
  EXPECT_FALSE(api.allow("a").allowed);
  registry_["default"].clear();
  EXPECT_TRUE(api.allow("a").allowed);
}

class LimitStores : public ::testing::TestWithParam<ProcessStore> {};

TEST_P(LimitStores, RegistriesShareALimit) {
  const Config config{.caches = {{"default",
                                  {.backend = GetParam().name,
                                   .location = GetParam().location(),
                                   .key_prefix = "limits",
                                   .options = patient_options(GetParam().name)}}}};
  CacheRegistry one(config, environment_of_all_stores());
  CacheRegistry other(config, environment_of_all_stores());
  for (const RateAlgorithm algorithm : all_algorithms) {
    const std::string name = "shared" + std::to_string(static_cast<int>(algorithm));
    const auto in = [&](CacheRegistry& registry) {
      return RateLimiter(
          name, {.limit = 3, .period = 24h * 365, .algorithm = algorithm, .registry = &registry});
    };
    const RateLimiter mine = in(one);
    const RateLimiter theirs = in(other);
    EXPECT_EQ(mine.allow("a").left, 2);
    EXPECT_EQ(theirs.allow("a").left, 1);
    EXPECT_EQ(mine.allow("a").left, 0);
    EXPECT_FALSE(theirs.allow("a").allowed);
    EXPECT_GT(theirs.allow("a").retry_after, 0ms);
    EXPECT_TRUE(theirs.reset("a"));
    EXPECT_EQ(mine.peek("a").left, 3);
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, LimitStores,
                         ::testing::Values(sqlite_store, redis_store, memcached_store), name_of);

}  // namespace
}  // namespace polycache::testing
