// What must be survived with every server: that it is not there, dies, hangs, moves, or loses
// what it had. The other sources of this program have the same suite: server_replies_test.cpp what
// happens to connections and replies, server_connections_test.cpp how many connections there are.

#include "server_faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "names.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/registry.h"
#include "support/gate.h"
#include "two_policies.h"
#ifdef POLYCACHE_TEST_WITH_MEMCACHED
#include "memcached_server.h"
#endif
#ifdef POLYCACHE_TEST_WITH_REDIS
#include "redis_server.h"
#endif

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::SizeIs;

namespace polycache::testing {
namespace {

using Kind = BackendError::Kind;
using State = CircuitBreaker::State;
using Steady = std::chrono::steady_clock;

const std::vector<const ServerKind*> kinds{
#ifdef POLYCACHE_TEST_WITH_MEMCACHED
    &memcached_server,
#endif
#ifdef POLYCACHE_TEST_WITH_REDIS
    &redis_server,
#endif
};

INSTANTIATE_TEST_SUITE_P(Stores, ServerFaults, ::testing::ValuesIn(kinds),
                         [](const auto& test) { return std::string(test.param->name); });

// --- 1: not there at the start ---

TEST_P(ServerFaults, AServerThatIsNotThereAtTheStartCostsMisses) {
  server_->kill9();
  TwoPolicies store = store_at({server_->address()});
  const auto time = time_of([&] {
    EXPECT_FALSE(store.open().get("k"));
    EXPECT_FALSE(store.open().set("k", 1));
    EXPECT_EQ(store.open().get_or_set("k", [] { return 3; }), 3);
  });
  EXPECT_LT(time, time_limit);
  EXPECT_EQ(kind_of_failure([&] { store.open().erase("k"); }), Kind::unreachable);
  const auto error = failure_of([&] { store.strict().get("k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::unreachable);
  EXPECT_EQ(error->server(), server_->address());

  server_->start();
  clock_.advance(short_pause);
  expect_full_service(store);
}

// --- 2, 3: dies, and comes back ---

TEST_P(ServerFaults, ADeadServerIsNotCalledUntilItRecovers) {
  for (const Outage& outage : outages()) {
    SCOPED_TRACE(outage.reason);
    TwoPolicies store = store_at({gate_.address()});
    Cache& open = store.open();
    Cache& strict = store.strict();
    const auto expect_refusal = [&](const std::string& by) {
      const auto error = failure_of([&] { strict.get("k"); });
      ASSERT_TRUE(error);
      EXPECT_EQ(error->kind(), Kind::unreachable);
      EXPECT_THAT(error->what(), AllOf(HasSubstr(gate_.address()), HasSubstr(by),
                                       HasSubstr("next attempt in"), ContainsRegex(outage.reason)));
    };
    expect_full_service(store);
    outage.begin();
    EXPECT_FALSE(open.get("k"));
    EXPECT_EQ(kind_of_failure([&] { strict.get("k"); }), Kind::unreachable);
    expect_refusal("");  // by the pause between connections
    for (int i = 0; i < 4; ++i) {
      clock_.advance(short_pause);
      EXPECT_FALSE(open.get("k"));
      EXPECT_TRUE(failure_of([&] { strict.get("k"); }));
    }
    EXPECT_EQ(store.health("open").breaker, State::open);
    EXPECT_THAT(store.warnings(Warning::Kind::breaker_opened),
                ElementsAre(HasSubstr(gate_.address()), HasSubstr(gate_.address())));
    expect_refusal("circuit breaker");
    clock_.advance(long_pause);
    EXPECT_FALSE(open.get("k")) << "the probe fails";
    EXPECT_TRUE(failure_of([&] { strict.get("k"); }));

    const std::size_t connections = gate_.connections_ever();
    for (int i = 0; i < 1000; ++i) {
      EXPECT_FALSE(open.get("k"));
      EXPECT_FALSE(open.set("k", 1));
    }
    expect_refusal("circuit breaker");
    EXPECT_TRUE(failure_of([&] { open.erase("k"); })) << "an erasure is not lost in silence";
    EXPECT_EQ(gate_.connections_ever(), connections) << "not called";

    outage.end();
    EXPECT_FALSE(open.set("k", 1)) << "it is still not called";
    clock_.advance(long_pause);
    expect_full_service(store);
    EXPECT_EQ(store.health("open").breaker, State::closed);
    EXPECT_THAT(store.warnings(Warning::Kind::breaker_closed),
                ElementsAre(HasSubstr(gate_.address()), HasSubstr(gate_.address())));
  }
}

TEST_P(ServerFaults, HealthIsCheckedWhateverTheBreakerState) {
  for (const Outage& outage : outages()) {
    SCOPED_TRACE(outage.reason);
    TwoPolicies store = store_at({gate_.address()});
    const auto expect_down = [&] {
      const CacheHealth health = store.health("open");
      EXPECT_FALSE(health.reachable);
      ASSERT_THAT(health.servers, SizeIs(1));
      EXPECT_EQ(health.servers[0].name, gate_.address());
      EXPECT_EQ(health.servers[0].breaker, State::open);
      EXPECT_THAT(health.servers[0].error, ContainsRegex(outage.reason));
    };
    EXPECT_TRUE(store.health("open").reachable);
    outage.begin();
    for (int i = 0; i < 5; ++i) {
      clock_.advance(short_pause);
      EXPECT_FALSE(store.open().get("k"));
    }
    expect_down();
    clock_.advance(short_pause);
    EXPECT_FALSE(store.open().get("k")) << "the probe fails";
    expect_down();

    outage.end();
    const CacheHealth health = store.health("open");
    EXPECT_TRUE(health.reachable);
    EXPECT_GT(health.servers[0].round_trip.count(), 0);
    EXPECT_EQ(health.servers[0].breaker, State::open) << "asking changes nothing";
    EXPECT_FALSE(store.open().set("k", 1));
    clock_.advance(long_pause);
    expect_full_service(store);
  }
}

// On the machine's clock: how long it takes from "server back" to "full service".
TEST_P(ServerFaults, FullServiceSoonAfterTheServerIsBack) {
  TwoPolicies store = store_in_real_time({server_->address()}, {{"timeout", "1s"}});
  std::atomic<bool> ending{false};
  std::atomic<int> hits{0};
  std::atomic<std::chrono::milliseconds::rep> longest{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const std::string key = "k" + std::to_string(i);
      while (!ending) {
        const auto time = time_of([&] {
          if (store.open().set(key, i) && store.open().get<int>(key) == i) ++hits;
        });
        longest = std::max<std::chrono::milliseconds::rep>(longest, time.count());
        std::this_thread::sleep_for(1ms);
      }
    });
  }
  EXPECT_TRUE(soon([&] { return hits > 100; }));
  server_->kill9();
  EXPECT_TRUE(soon([&] { return store.health("open").breaker == State::open; }));
  server_->start();
  const auto back = Steady::now();
  hits = 0;
  EXPECT_TRUE(soon([&] { return hits > 0; }));
  const auto first = std::chrono::ceil<std::chrono::milliseconds>(Steady::now() - back);
  expect_full_service(store.open());
  EXPECT_TRUE(soon([&] { return hits > 100; }));
  ending = true;
  for (std::thread& thread : threads) thread.join();
  std::cout << kind_.name << ": from \"server back\" to full service: " << first.count()
            << " ms; longest call: " << longest << " ms\n";
  EXPECT_LT(longest.load(), std::chrono::milliseconds(2 * time_limit).count());
}

// --- 4: hung ---

TEST_P(ServerFaults, AServerThatHangsCostsOneTimeLimit) {
  TwoPolicies store = store_at({gate_.address()}, {{"timeout", "500ms"}});
  EXPECT_TRUE(serves_soon(store));
  const std::size_t warnings = store.warnings(Warning::Kind::breaker_opened).size();
  server_->suspend();
  Cache& strict = store.strict();
  const std::vector<std::function<void()>> operations{
      [&] { strict.get("k"); },
      [&] { strict.set("k", 1); },
      [&] {
        strict.get_many({"a", "b", "c"});
      },
      [&] {
        strict.set_many(std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}});
      },
      [&] { strict.erase("k"); },
  };
  for (const auto& operation : operations) {
    const auto time = time_of([&] { EXPECT_EQ(kind_of_failure(operation), Kind::timeout); });
    EXPECT_THAT(time, AllOf(Ge(operation_timeout - 10ms), Lt(time_limit)));
    clock_.advance(short_pause);
  }
  EXPECT_EQ(store.health("strict").breaker, State::open);
  const std::vector<std::string> opened = store.warnings(Warning::Kind::breaker_opened);
  ASSERT_THAT(opened, SizeIs(warnings + 1));
  EXPECT_THAT(opened.back(), ContainsRegex(over_tls() ? "within the limit" : "500 ?ms"));
  EXPECT_FALSE(store.open().get("k"));
  server_->resume();
  EXPECT_TRUE(serves_soon(store));
  expect_healed();
}

TEST_P(ServerFaults, AGetOrSetOnAServerThatHangsWaitsOnce) {
  TwoPolicies store = store_at({gate_.address()}, {{"timeout", "300ms"}});
  EXPECT_TRUE(serves_soon(store));
  const std::size_t connections = gate_.connections_ever();
  gate_.set({.hang = true});
  EXPECT_EQ(store.open().get_or_set("k", [] { return 7; }), 7);
  EXPECT_EQ(gate_.connections_ever(), connections) << "a second step would have connected anew";
  heal();
  EXPECT_TRUE(serves_soon(store));
  EXPECT_EQ(store.open().get_or_set("k", [] { return 8; }), 8) << "the 7 was not stored";
}

// --- 7: half open ---

TEST_P(ServerFaults, APeerThatVanishedCostsOneTimeLimit) {
  TwoPolicies store = store_at({gate_.address()}, {{"timeout", "2s"}});
  expect_full_service(store);
  gate_.set({.vanish = true}, Gate::Reach::existing);
  const auto time =
      time_of([&] { EXPECT_EQ(kind_of_failure([&] { store.strict().get("k"); }), Kind::timeout); });
  EXPECT_LT(time, 2s + time_limit);
  EXPECT_FALSE(store.strict().get("k")) << "on another connection, at once";
  EXPECT_FALSE(store.open().get("k")) << "its connection has vanished, too";
  EXPECT_TRUE(serves_soon(store));
  gate_.pass();
  EXPECT_TRUE(serves_soon(store));
  expect_healed();
}

TEST_P(ServerFaults, AServerThatAcceptsNoConnectionIsUnreachable) {
  TwoPolicies store = store_at({gate_.address()}, {{"connect_timeout", "500ms"}});
  gate_.ignore_connects();
  const auto time = time_of([&] { EXPECT_TRUE(failure_of([&] { store.strict().get("k"); })); });
  EXPECT_LT(time, time_limit);
  EXPECT_FALSE(store.open().get("k"));
  heal();
  EXPECT_TRUE(serves_soon(store));
  expect_healed();
}

// --- 12: names ---

TEST_P(ServerFaults, NamesAreResolvedAnewByEachConnection) {
  const std::string name = "cache.invalid";
  let_name_mean(name, {});
  TwoPolicies store = store_at({name + ":" + std::to_string(gate_.port())});
  const auto error = failure_of([&] { store.strict().get("k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::unreachable);
  EXPECT_THAT(error->what(), HasSubstr("cannot be resolved"));
  EXPECT_FALSE(store.open().get("k"));

  let_name_mean(name, {"127.0.0.1"});
  clock_.advance(short_pause);
  expect_full_service(store.strict());
  const int before = lookups();
  expect_full_service(store.strict());
  EXPECT_EQ(lookups(), before) << "not for each operation";
  strict_.set("moved", "no");

  let_name_mean(name, {"127.0.0.3"});
  gate_.reset_connections();
  EXPECT_EQ(kind_of_failure([&] { store.strict().get("moved"); }), Kind::unreachable)
      << "nothing listens there";
  EXPECT_GT(lookups(), before);
  let_name_mean(name, {"127.0.0.1"});
  clock_.advance(long_pause);
  expect_full_service(store);
  EXPECT_EQ(store.strict().get("moved"), "no");
}

// --- 23, 29: everything is gone ---

TEST_P(ServerFaults, ARestartLosesEverythingAndNothingElse) {
  for (int i = 0; i < 50; ++i) strict_.set("key" + std::to_string(i), i);
  server_->kill9();
  server_->start();
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(strict_.get("key" + std::to_string(i)));
  EXPECT_EQ(strict_.get_or_set("key1", [] { return 7; }), 7);
  EXPECT_EQ(strict_.get<int>("key1"), 7) << "that there was nothing is not remembered";
  EXPECT_THAT(store_.warnings(Warning::Kind::degraded), IsEmpty());
  expect_healed();
}

TEST_P(ServerFaults, WhatAnotherProgramFlushedIsAMiss) {
  for (int i = 0; i < 20; ++i) strict_.set("k" + std::to_string(i), i);
  kind_.clear(*server_);
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(strict_.get("k" + std::to_string(i)));
  EXPECT_EQ(strict_.get_or_set("k1", [] { return 7; }), 7);
  EXPECT_THROW(strict_.incr("k2"), KeyNotFound);
  expect_healed();
}

}  // namespace
}  // namespace polycache::testing
