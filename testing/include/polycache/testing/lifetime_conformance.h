// This part of the conformance suite tests timeouts.

#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, AnEntryLivesForItsTimeout) {
  store().set("k", "v", short_life());
  EXPECT_EQ(store().get("k"), "v");
  if (!quirks().own_clock) {
    pass(short_life() - 1ms);
    EXPECT_EQ(store().get("k"), "v") << "expired too early";
    pass(1ms + quirks().lateness);
  } else {
    outlive();
  }
  EXPECT_FALSE(store().get("k"));
}

TEST_P(BackendConformance, AnExpiredEntryIsAbsentForEveryOperation) {
  const auto expired = [&](std::string_view key) {
    store().set(key, 5, short_life());
    return std::string(key);
  };
  const std::vector<std::string> keys{
      expired("get"),  expired("contains"), expired("touch"),   expired("erase"),   expired("add"),
      expired("incr"), expired("pop"),      expired("version"), expired("present"), expired("gos")};
  for (const char* const key : {"read", "erased", "ttl", "equal"}) expired(key);
  outlive();
  EXPECT_FALSE(store().get_many({"read"})[0]);
  EXPECT_EQ(store().erase_many({"erased"}), 0U);
  if (auto* const ttl = store().extension<TtlExtension>()) {
    EXPECT_FALSE(ttl->get(store().final_key("ttl"), [](std::string_view, Ttl) { FAIL(); }));
  }
  if (auto* const compare = store().extension<CompareExtension>()) {
    EXPECT_FALSE(compare->put_if_equal(store().final_key("equal"), "5", "6", Ttl(1min)));
  }
  EXPECT_FALSE(store().get("get"));
  EXPECT_FALSE(store().contains("contains"));
  EXPECT_FALSE(store().touch("touch", 1min));
  EXPECT_FALSE(store().get("touch")) << "touch revived an expired entry";
  EXPECT_FALSE(store().erase("erase"));
  EXPECT_TRUE(store().add("add", 6));
  EXPECT_EQ(store().get<int>("add"), 6);
  if (quirks().has_counters) {
    EXPECT_THROW(store().incr("incr"), KeyNotFound);
  }
  EXPECT_FALSE(store().pop("pop"));
  EXPECT_THROW(store().incr_version("version"), KeyNotFound);
  EXPECT_FALSE(
      store().backend().put(store().final_key("present"), "v", Ttl(1min), PutMode::if_present));
  EXPECT_EQ(store().get_or_set("gos", [] { return 9; }), 9);
  store().erase_many({"add", "gos"});
  for (const auto& value : store().get_many<int>(keys)) EXPECT_FALSE(value);
  EXPECT_EQ(store().erase_many(keys), 0U);
}

TEST_P(BackendConformance, AnExpiredEntryIsNotCountedAsErased) {
  const std::vector<std::string> keys{"erase", "zero", "many", "more"};
  for (const std::string& key : keys) store().set(key, 5, short_life());
  store().set("live", 5);
  outlive();
  EXPECT_FALSE(store().erase("erase"));
  EXPECT_FALSE(store().touch("zero", 0s));
  EXPECT_EQ(store().erase_many({"many", "more", "live"}), 1U);
  for (const auto& value : store().get_many<int>(keys)) EXPECT_FALSE(value);
}

TEST_P(BackendConformance, AZeroOrNegativeTimeoutMeansErase) {
  for (const auto timeout : {0ms, -1ms, -3'600'000ms}) {
    store().set("k", "old");
    EXPECT_TRUE(store().set("k", "new", timeout));
    EXPECT_FALSE(store().contains("k"));
    EXPECT_TRUE(store().add("k", "new", timeout));
    EXPECT_FALSE(store().contains("k"));
    store().set("k", "live");
    EXPECT_FALSE(store().add("k", "new", timeout));
    EXPECT_EQ(store().get("k"), "live");
    EXPECT_TRUE(store().touch("k", timeout));
    EXPECT_FALSE(store().contains("k"));
    EXPECT_FALSE(store().touch("k", timeout));
    store().set("k", "live");
    EXPECT_TRUE(store().set_many({{"k", "new"}}, timeout).empty());
    EXPECT_FALSE(store().contains("k"));
    EXPECT_EQ(store().get_or_set("k", "made", timeout), "made");
    EXPECT_FALSE(store().contains("k"));
  }
}

TEST_P(BackendConformance, NeverAndLongTimeoutsAreKept) {
  store().set("never", 1, never);
  store().set("month", 1, 24h * 30);
  store().set("more", 1, 24h * 31);
  store().set("years", 1, 24h * 365 * 20);
  store().set("max", 1, std::chrono::hours::max());
  const std::vector<std::string> keys{"never", "month", "more", "years", "max"};
  for (const std::string& key : keys) EXPECT_TRUE(store().contains(key)) << key;
  if (quirks().own_clock) return;
  pass(24h * 29);
  for (const std::string& key : keys) EXPECT_TRUE(store().contains(key)) << key << " after 29 days";
  pass(24h * 3);
  EXPECT_FALSE(store().contains("month"));
  EXPECT_FALSE(store().contains("more"));
  EXPECT_TRUE(store().contains("years"));
  EXPECT_TRUE(store().contains("never"));
}

TEST_P(BackendConformance, TheDefaultTimeoutIsTheAliass) {
  Config config = config_;
  config.caches["store"].timeout = short_life();
  registry().reconfigure(config);
  store().set("default", 1);
  store().set("own", 1, 10min);
  store().add("added", 1);
  store().set_many({{"many", 1}});
  store().get_or_set("made", 1);
  outlive();
  for (const char* key : {"default", "added", "many", "made"}) {
    EXPECT_FALSE(store().contains(key)) << key;
  }
  EXPECT_TRUE(store().contains("own"));
  config.caches["store"].timeout = never;
  registry().reconfigure(config);
  store().set("k", 1);
  outlive();
  EXPECT_TRUE(store().contains("k"));
  config.caches["store"].timeout = 0s;
  registry().reconfigure(config);
  EXPECT_TRUE(store().set("k", 1));
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, AMomentIsATimeoutToo) {
  store().set("past", 1, clock_of_store()->system_now() - 1s);
  EXPECT_FALSE(store().contains("past"));
  store().set("k", 1, clock_of_store()->system_now() + short_life());
  EXPECT_TRUE(store().contains("k"));
  outlive();
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, SetGivesANewLifetime) {
  for (const char* const key : {"longer", "never", "many"}) store().set(key, 1, short_life());
  store().set("shorter", 1, never);
  EXPECT_TRUE(store().set("longer", 2, 10min));
  EXPECT_TRUE(store().set("never", 2, never));
  EXPECT_TRUE(store().set_many({{"many", 2}}, 10min).empty());
  EXPECT_TRUE(store().set("shorter", 2, short_life()));
  outlive();
  for (const char* const key : {"longer", "never", "many"}) EXPECT_EQ(store().get<int>(key), 2);
  EXPECT_FALSE(store().contains("shorter"));
}

TEST_P(BackendConformance, TouchGivesANewLifetime) {
  store().set("longer", 1, short_life());
  store().set("never", 1, short_life());
  store().set("shorter", 1, never);
  store().set("same", 1, never);
  EXPECT_TRUE(store().touch("longer", 10min));
  EXPECT_TRUE(store().touch("never", never));
  EXPECT_TRUE(store().touch("shorter", short_life()));
  EXPECT_TRUE(store().touch("same", never)) << "an entry that never expires is still an entry";
  outlive();
  EXPECT_TRUE(store().contains("longer"));
  EXPECT_TRUE(store().contains("never"));
  EXPECT_FALSE(store().contains("shorter"));
  EXPECT_TRUE(store().contains("same"));
  EXPECT_EQ(store().get<int>("longer"), 1);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
