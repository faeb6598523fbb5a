// This part of the conformance suite tests a store that keeps nothing.

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(KeepsNothingConformance, EverythingIsAMissAndNothingFails) {
  EXPECT_TRUE(store().set("k", "v"));
  EXPECT_FALSE(store().get("k"));
  EXPECT_TRUE(store().add("k", "v"));
  EXPECT_TRUE(store().add("k", "v"));
  EXPECT_TRUE(store().add("k", "v", 0s));
  EXPECT_TRUE(store().set("k", "v", -1s));
  EXPECT_FALSE(store().contains("k"));
  EXPECT_FALSE(store().touch("k"));
  EXPECT_FALSE(store().touch("k", 0s));
  EXPECT_FALSE(store().erase("k"));
  EXPECT_FALSE(store().pop("k"));
  EXPECT_TRUE(store().set_many({{"a", 1}, {"b", "x"}}).empty());
  EXPECT_TRUE(store().get_many_map({"a", "b"}).empty());
  EXPECT_TRUE(store().set_many({{"a", 1}, {"a", 2}}).empty());
  EXPECT_EQ(store().get_many({"a", "a"}), std::vector<std::optional<std::string>>(2));
  EXPECT_EQ(store().erase_many({"a", "b", "a"}), 0U);
  EXPECT_THROW(store().incr_version("k"), KeyNotFound);
  EXPECT_TRUE(store().update<int>("k", [](std::optional<int> old) { return old ? -1 : 1; }));
  if (quirks().has_counters) {
    EXPECT_THROW(store().incr("n"), KeyNotFound);
    EXPECT_THROW(store().decr("n"), KeyNotFound);
    EXPECT_EQ(store().incr("n", 2, {.initial = 3}), 5);
  }
  store().clear();
  store().close();
}

TEST_P(KeepsNothingConformance, OffersNoExtensionThatTheListLacks) {
  EXPECT_EQ(unlisted_extensions(), std::set<std::string>());
}

TEST_P(KeepsNothingConformance, KeysAreValidated) {
  store().get("a space");
  store().set(std::string(300, 'k'), 1);
  EXPECT_EQ(warnings_of(Warning::Kind::key_bad_byte), 1U);
  EXPECT_EQ(warnings_of(Warning::Kind::key_too_long), 1U);
}

TEST_P(KeepsNothingConformance, GetOrSetComputesEachTime) {
  int computed = 0;
  EXPECT_EQ(store().get_or_set("k", [&] { return ++computed; }), 1);
  EXPECT_EQ(store().get_or_set("k", [&] { return ++computed; }), 2);
}

TEST_P(KeepsNothingConformance, ThreadsThatAskTogetherComputeOnce) {
  constexpr int threads = 32;
  std::atomic<int> computed{0};
  std::atomic<int> asking{0};
  on_threads(threads, [&](int) {
    ++asking;
    EXPECT_EQ(store().get_or_set("k",
                                 [&] {
                                   while (asking < threads) std::this_thread::yield();
                                   std::this_thread::sleep_for(1s);  // they join the flight
                                   return ++computed;
                                 }),
              1);
  });
  EXPECT_EQ(computed, 1);
}

TEST_P(KeepsNothingConformance, ComputationsThatNeedEachOtherEnd) {
  Meeting inside(2);
  on_threads(2, [&](int i) {
    const std::string first = i == 0 ? "a" : "b";
    const std::string second = i == 0 ? "b" : "a";
    EXPECT_EQ(store().get_or_set(first,
                                 [&] {
                                   inside.arrive_and_wait();
                                   return 1 + store().get_or_set(second, [] { return 1; });
                                 }),
              2);
  });
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
