// What must be survived with several memcached servers, of which one is down.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "memcached_server.h"
#include "no_system_calls.h"
#include "polycache/author/extension.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/registry.h"
#include "server_faults.h"
#include "support/gate.h"
#include "support/server.h"
#include "two_policies.h"

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

namespace polycache::testing {
namespace {

using State = CircuitBreaker::State;

class MemcachedFaultsOfOne : public ServerFixture {
 protected:
  MemcachedFaultsOfOne() : ServerFixture(memcached_server) {
    for (int i = 0; i < 60; ++i) keys_.push_back("key" + std::to_string(i));
    for (const std::string& key : keys_) strict_cache_.set(key, "first of " + key);
    TwoPolicies only_second = store_at({second_->address()});
    for (const std::string& key : keys_) {
      (only_second.strict().get(key) ? of_second_ : of_first_).push_back(key);
    }
  }
  std::set<std::string> found(Cache& cache) const {
    std::set<std::string> found;
    const auto values = cache.get_many(keys_);
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (values[i]) found.insert(keys_[i]);
    }
    return found;
  }
  static std::set<std::string> set_of(const std::vector<std::string>& keys) {
    return {keys.begin(), keys.end()};
  }
  // Until its breaker opens.
  void fail_first() {
    for (int i = 0; i < 5; ++i) {
      EXPECT_FALSE(cache_.get(of_first_[0]));
      EXPECT_TRUE(failure_of([&] { strict_cache_.get(of_first_[0]); }));
      clock_.advance(1500ms);
    }
  }

  std::unique_ptr<Server> second_ = Server::memcached();
  TwoPolicies both_ = store_at({gate_.address(), second_->address()});
  Cache& cache_ = both_.open();
  Cache& strict_cache_ = both_.strict();
  std::vector<std::string> keys_;
  std::vector<std::string> of_first_;
  std::vector<std::string> of_second_;
};

TEST_F(MemcachedFaultsOfOne, ServersThatAreDownLoseTheirOwnKeysOnly) {
  ASSERT_FALSE(of_first_.empty());
  ASSERT_FALSE(of_second_.empty());
  gate_.down();
  EXPECT_EQ(found(cache_), set_of(of_second_));
  fail_first();
  EXPECT_THAT(both_.warnings(Warning::Kind::breaker_opened),
              ElementsAre(HasSubstr(gate_.address()), HasSubstr(gate_.address())));
  clock_.advance(long_pause);
  EXPECT_FALSE(cache_.get(of_first_[0]));  // the probe
  EXPECT_TRUE(failure_of([&] { strict_cache_.get(of_first_[0]); }));

  // The breaker is open, and the other server's keys are as they were.
  EXPECT_EQ(found(cache_), set_of(of_second_));
  EXPECT_EQ(failure_of([&] { strict_cache_.get_many(keys_); })->server(), gate_.address());
  std::map<std::string, std::string> again;
  for (const std::string& key : keys_) again[key] = "again";
  EXPECT_EQ(cache_.set_many(again).size(), keys_.size()) << "a failure speaks for all";
  for (const std::string& key : of_second_) EXPECT_EQ(strict_cache_.get(key), "again");
  EXPECT_TRUE(failure_of([&] { cache_.erase_many(keys_); }));
  EXPECT_THAT(found(cache_), IsEmpty()) << "what could be erased was";
  const CacheHealth health = both_.health("open");
  EXPECT_FALSE(health.reachable);
  EXPECT_FALSE(health.servers[0].reachable);
  EXPECT_TRUE(health.servers[1].reachable);
  EXPECT_EQ(health.breaker, State::open);

  // It comes back empty: keys never moved, so nothing old of other servers is on it.
  server_->kill9();
  server_->start();
  gate_.pass();
  clock_.advance(long_pause);
  EXPECT_THAT(found(cache_), IsEmpty());
  EXPECT_TRUE(cache_.set_many(again).empty());
  EXPECT_EQ(found(strict_cache_).size(), keys_.size());
  expect_full_service(both_);
  EXPECT_EQ(both_.health("open").breaker, State::closed);
}

// What docs/stores.md says of it: a server that kept its memory serves what it had.
TEST_F(MemcachedFaultsOfOne, AServerThatWasOnlyUnreachableServesWhatItHad) {
  gate_.down();
  const std::string& key = of_first_[0];
  EXPECT_FALSE(cache_.set(key, "second")) << "the caller was told";
  EXPECT_TRUE(failure_of([&] { cache_.erase(of_first_[1]); })) << "and here by an exception";
  gate_.pass();
  clock_.advance(long_pause);
  EXPECT_EQ(cache_.get(key), "first of " + key);
  EXPECT_TRUE(cache_.set(key, "second"));
  EXPECT_EQ(cache_.get(key), "second");
  EXPECT_TRUE(cache_.erase(of_first_[1]));
  expect_full_service(both_);
}

TEST_F(MemcachedFaultsOfOne, AServerThatHangsLeavesTimeForTheOthers) {
  TwoPolicies store =
      store_at({gate_.address(), second_->address()},
               {{"timeout", std::string("3s")}, {"connect_timeout", std::string("500ms")}});
  Cache& open = store.open();
  expect_full_service(open);
  gate_.set({.hang = true});
  std::map<std::string, std::string> again;
  for (const std::string& key : keys_) again[key] = "again";
  auto time = time_of([&] { EXPECT_EQ(found(open), set_of(of_second_)); });
  EXPECT_LT(time, time_limit);
  time = time_of([&] { EXPECT_EQ(open.set_many(again).size(), keys_.size()); });
  EXPECT_LT(time, time_limit);
  for (const std::string& key : of_second_) EXPECT_EQ(open.get(key), "again");
  time = time_of([&] { EXPECT_TRUE(failure_of([&] { open.erase_many(keys_); })); });
  EXPECT_LT(time, time_limit);
  EXPECT_THAT(found(open), IsEmpty());
  gate_.pass();
  clock_.advance(long_pause);
  EXPECT_TRUE(open.set_many(again).empty());
  EXPECT_EQ(found(strict_cache_).size(), keys_.size());
}

TEST_F(MemcachedFaultsOfOne, WhatOneServerWouldRefuseIsKnownBeforehand) {
  const auto* const admission = cache_.extension<AdmissionExtension>();
  ASSERT_NE(admission, nullptr);
  EXPECT_TRUE(admission->admits_all());
  gate_.down();
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(cache_.get(of_first_[0]));
    clock_.advance(i < 4 ? 1500ms : 0ms);
  }
  const auto admits = [&](const std::string& key, Access access) {
    return admission->admits(cache_.final_key(key), access);
  };
  EXPECT_FALSE(admits(of_first_[0], Access::read));
  EXPECT_FALSE(admits(of_first_[1], Access::write));
  EXPECT_TRUE(admits(of_second_[0], Access::write));
  EXPECT_FALSE(admission->admits_all());
  EXPECT_TRUE(makes_no_system_call([&] {
    for (int i = 0; i < 100; ++i) {
      cache_.get<int>(of_first_[0]);
      cache_.set(of_first_[0], 1);
    }
  }));
  EXPECT_TRUE(cache_.set(of_second_[0], "served"));
  EXPECT_THAT(both_.warnings(Warning::Kind::recovered), IsEmpty()) << "one is still down";
  gate_.pass();
  clock_.advance(long_pause);
  EXPECT_TRUE(cache_.set(of_first_[0], "again"));
  EXPECT_TRUE(admission->admits_all());
  EXPECT_THAT(both_.warnings(Warning::Kind::recovered), SizeIs(1));
}

}  // namespace
}  // namespace polycache::testing
