// This part of the conformance suite tests counters and versions.

#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

// --- Counters ---

TEST_P(BackendConformance, CountersCountInBothDirections) {
  if (!quirks().has_counters) return;
  store().set("n", 1);
  EXPECT_EQ(store().incr("n"), 2);
  EXPECT_EQ(store().incr("n", 10), 12);
  EXPECT_EQ(store().decr("n"), 11);
  EXPECT_EQ(store().decr("n", 5), 6);
  EXPECT_EQ(store().incr("n", -10), -4);
  EXPECT_EQ(store().decr("n", -3), -1);
  EXPECT_EQ(store().incr("n", 0), -1);
  EXPECT_EQ(store().incr("n", 1), 0);
  EXPECT_EQ(store().decr("n", 100), -100);
  EXPECT_EQ(store().get<int>("n"), -100);
  EXPECT_EQ(store().get("n"), "-100");
}

TEST_P(BackendConformance, CountersHave64SignedBitsAndNeverWrap) {
  if (!quirks().has_counters) return;
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  constexpr auto least = std::numeric_limits<std::int64_t>::min();
  store().set("n", most - 1);
  EXPECT_EQ(store().incr("n"), most);
  EXPECT_THROW(store().incr("n"), ValueError);
  EXPECT_EQ(store().get<std::int64_t>("n"), most);
  EXPECT_EQ(store().incr("n", least), -1);
  EXPECT_EQ(store().incr("n", least + 1), least);
  EXPECT_THROW(store().decr("n"), ValueError);
  EXPECT_EQ(store().get<std::int64_t>("n"), least);
  EXPECT_THROW(store().decr("n", least), ValueError);
  store().set("n", (std::int64_t{1} << 53U) + 1);
  EXPECT_EQ(store().incr("n", std::int64_t{1} << 40U),
            (std::int64_t{1} << 53U) + 1 + (std::int64_t{1} << 40U));
}

TEST_P(BackendConformance, CountingAnotherValueIsAValueErrorAndKeepsIt) {
  if (!quirks().has_counters) return;
  for (const std::string& value :
       {std::string("text"), std::string(), std::string("007"), std::string("-0"),
        std::string("+1"), std::string(" 1"), std::string("1 "), std::string("1.5"),
        std::string("9223372036854775808"), std::string("18446744073709551615"),
        std::string("1\0", 2)}) {
    if (value == "1 " && store().extension<PaddedNumbersExtension>() != nullptr) continue;
    store().set("n", value);
    EXPECT_THROW(store().incr("n"), ValueError) << value;
    EXPECT_THROW(store().decr("n"), ValueError) << value;
    EXPECT_EQ(store().get("n"), value);
  }
}

TEST_P(BackendConformance, CountingKeepsTheLifetime) {
  if (!quirks().has_counters) return;
  store().set("short", 1, short_life());
  store().set("negative", -5, short_life());
  store().set("never", 1, never);
  store().incr("short");
  store().decr("short", 10);
  store().incr("negative", 2);
  store().incr("never");
  outlive();
  EXPECT_FALSE(store().contains("short"));
  EXPECT_FALSE(store().contains("negative"));
  EXPECT_EQ(store().get<int>("never"), 2);
}

TEST_P(BackendConformance, AnInitialValueStartsACounter) {
  if (!quirks().has_counters) return;
  EXPECT_EQ(store().incr("n", 5, {.initial = 100}), 105);
  EXPECT_EQ(store().incr("n", 5, {.initial = 100}), 110);
  EXPECT_EQ(store().decr("m", 5, {.initial = 0}), -5);
  EXPECT_EQ(store().incr("short", 1, {.timeout = short_life(), .initial = 0}), 1);
  EXPECT_EQ(store().incr("none", 1, {.timeout = 0s, .initial = 0}), 1);
  EXPECT_FALSE(store().contains("none"));
  EXPECT_THROW(store().incr("o", std::numeric_limits<std::int64_t>::max(), {.initial = 1}),
               ValueError);
  outlive();
  EXPECT_FALSE(store().contains("short"));
  EXPECT_EQ(store().get<int>("n"), 110);
}

TEST_P(BackendConformance, AStoreWithoutCountersSaysThatItCannotCount) {
  if (quirks().has_counters) return;
  store().set("n", 1);
  for (const char* const key : {"n", "absent"}) {
    try {
      store().incr(key);
      FAIL() << "the store can count; set has_counters to true";
    } catch (const BackendError& error) {
      EXPECT_EQ(error.kind(), BackendError::Kind::unsupported) << error.what();
    }
  }
  EXPECT_EQ(store().get<int>("n"), 1);
}

// --- Versions ---

TEST_P(BackendConformance, VersionsKeepEntriesApart) {
  const int own = store().version();
  store().set("k", "own");
  store().set("k", "seven", {.version = 7});
  store().set("k", "zero", {.version = 0});
  store().set("k", "minus", {.version = -1});
  EXPECT_EQ(store().get("k"), "own");
  EXPECT_EQ(store().get("k", {.version = own}), "own");
  EXPECT_EQ(store().get("k", {.version = 7}), "seven");
  EXPECT_EQ(store().get("k", {.version = 0}), "zero");
  EXPECT_EQ(store().get("k", {.version = -1}), "minus");
  EXPECT_FALSE(store().get("k", {.version = 8}));
  EXPECT_TRUE(store().erase("k", {.version = 7}));
  EXPECT_FALSE(store().contains("k", {.version = 7}));
  EXPECT_TRUE(store().contains("k"));
  EXPECT_EQ(store().get_many({"k"}, {.version = 0})[0], "zero");
  EXPECT_EQ(store().erase_many({"k"}, {.version = 0}), 1U);
}

TEST_P(BackendConformance, IncrVersionMovesAnEntry) {
  const int own = store().version();
  store().set("k", "v");
  store().set("k", "in the way", {.version = own + 1});
  EXPECT_EQ(store().incr_version("k"), own + 1);
  EXPECT_FALSE(store().get("k"));
  EXPECT_EQ(store().get("k", {.version = own + 1}), "v");
  EXPECT_EQ(store().incr_version("k", 5, {.version = own + 1}), own + 6);
  EXPECT_EQ(store().decr_version("k", 6, {.version = own + 6}), own);
  EXPECT_EQ(store().get("k"), "v");
  EXPECT_EQ(store().incr_version("k", 0), own);
  EXPECT_EQ(store().get("k"), "v");
  EXPECT_THROW(store().incr_version("k", std::numeric_limits<int>::max()), ValueError);
  EXPECT_EQ(store().get("k"), "v");
}

TEST_P(BackendConformance, IncrVersionKeepsTheLifetime) {
  store().set("short", "v", short_life());
  store().set("never", "v", never);
  const int version = store().incr_version("short");
  store().incr_version("never");
  EXPECT_TRUE(store().contains("short", {.version = version}));
  outlive();
  // If the store cannot report lifetimes, the moved entry gets the alias's: five minutes.
  EXPECT_EQ(store().contains("short", {.version = version}), !quirks().has_ttl);
  EXPECT_TRUE(store().contains("never", {.version = version}));
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
