// The part of the conformance suite about entries and their lifetimes: Cache::get_entry(),
// pop_entry(), expire(), persist(), reads that renew (ReadOptions::touch), and the extension
// renew/1 below them. backend_conformance.h includes it.

#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, GetEntryReportsAllThatIsKnownOfALiveEntry) {
  EXPECT_EQ(store().get_entry("none").status, EntryStatus::miss);
  store().set("k", "value", {.timeout = 1h, .tags = {"posts", "authors"}});
  const Entry<std::string> entry = store().get_entry("k");
  EXPECT_EQ(entry.status, EntryStatus::hit);
  EXPECT_EQ(entry.value, "value");
  EXPECT_EQ(entry.tags, (std::vector<std::string>{"authors", "posts"}));
  EXPECT_EQ(entry.created, std::nullopt);
  EXPECT_EQ(entry.error, "");
  EXPECT_EQ(entry.left.has_value(), quirks().has_ttl);
  if (entry.left) {
    EXPECT_GT(*entry.left, 59min);
    EXPECT_LE(*entry.left, 1h + quirks().lateness + quirks().granularity);
  }
  store().set("n", 42, never);
  const Entry<int> number = store().get_entry<int>("n");
  EXPECT_EQ(number.status, EntryStatus::hit);
  EXPECT_EQ(number.value, 42);
  EXPECT_EQ(number.left, std::nullopt);
  EXPECT_TRUE(number.tags.empty());
  store().set("moved", "v", {.version = 5});
  EXPECT_EQ(store().get_entry("moved", {.version = 5}).value, "v");
  EXPECT_EQ(store().get_entry("moved", {.version = 6}).status, EntryStatus::miss);
}

TEST_P(BackendConformance, GetEntryFindsStaleAndNegativeEntries) {
  const std::int64_t now = milliseconds_now();
  const auto put = [&](const std::string& bytes) {
    store().backend().put(store().final_key("k"), bytes, Ttl(1min), PutMode::always);
  };
  put(frame(0, now - 5000, now + 3'600'000, 60, {}, "v"));
  Entry<std::string> entry = store().get_entry("k");
  EXPECT_EQ(entry.status, EntryStatus::hit);
  EXPECT_EQ(entry.created, std::chrono::sys_time<std::chrono::milliseconds>(
                               std::chrono::milliseconds(now - 5000)));
  if (quirks().has_ttl) {
    EXPECT_LE(*entry.left, 1min + quirks().lateness + quirks().granularity)
        << "the store keeps it for less than it is fresh";
  }
  put(frame(0, now - 9000, now + 30'000, 60, {}, "v"));
  entry = store().get_entry("k");
  EXPECT_LE(*entry.left, 30s);
  EXPECT_GT(*entry.left, 1s);
  put(frame(0, now - 9000, now - 1, 3600, {}, "old"));
  entry = store().get_entry("k");
  EXPECT_EQ(entry.status, EntryStatus::stale);
  EXPECT_EQ(entry.value, "old");
  EXPECT_EQ(entry.left, 0ms);
  put(frame(1, now - 9000, now + 30'000, 0, {}, {}));
  entry = store().get_entry("k");
  EXPECT_EQ(entry.status, EntryStatus::negative);
  EXPECT_FALSE(entry.value);
  EXPECT_LE(*entry.left, 30s);
  EXPECT_EQ(store().pop_entry("k").status, EntryStatus::negative);
  EXPECT_EQ(store().get_entry("k").status, EntryStatus::miss);
}

TEST_P(BackendConformance, GetEntryTakesWhatIsNotLiveForAMissUnlessItIsStaleOrNegative) {
  for (const NotLive& entry : entries_that_are_not_live()) {
    const std::string_view what = entry.what;
    if (what.starts_with("stale") || what.starts_with("negative")) continue;
    SCOPED_TRACE(what);
    const std::size_t before = warnings_of(Warning::Kind::entry_damaged);
    store().backend().put(store().final_key("k"), entry.bytes, Ttl(1min), PutMode::always);
    const Entry<std::string> found = store().get_entry("k");
    EXPECT_EQ(found.status, EntryStatus::miss);
    EXPECT_FALSE(found.value);
    EXPECT_FALSE(found.created || found.left);
    EXPECT_EQ(warnings_of(Warning::Kind::entry_damaged) - before, entry.is_unreadable ? 1U : 0U);
  }
  store().set("k", "value", {.tags = {"posts"}});
  store().erase_tag("posts");
  EXPECT_EQ(store().get_entry("k").status, EntryStatus::miss);
  EXPECT_TRUE(store().get_entry("k").tags.empty());
  store().set("k", "text");
  EXPECT_EQ(store().get_entry<int>("k").status, EntryStatus::miss);
  EXPECT_EQ(warnings_of(Warning::Kind::undecodable_value), 1U);
}

TEST_P(BackendConformance, PopEntryRemovesWhatItReports) {
  EXPECT_EQ(store().pop_entry("k").status, EntryStatus::miss);
  store().set("k", "value", {.timeout = 1h, .tags = {"posts"}});
  const Entry<std::string> entry = store().pop_entry("k");
  EXPECT_EQ(entry.status, EntryStatus::hit);
  EXPECT_EQ(entry.value, "value");
  EXPECT_EQ(entry.tags, std::vector<std::string>{"posts"});
  if (quirks().has_ttl && quirks().has_compare) {
    EXPECT_GT(entry.left.value_or(0ms), 59min);
  }
  EXPECT_FALSE(store().contains("k"));
  EXPECT_EQ(store().pop_entry("k").status, EntryStatus::miss);
  store().set("k", "stale");
  store().expire("k");
  EXPECT_EQ(store().pop_entry("k").value, "stale");
  EXPECT_FALSE(store().erase("k"));
}

TEST_P(BackendConformance, ExpireMakesALiveEntryStaleAndKeepsItsLifetime) {
  EXPECT_FALSE(store().expire("k"));
  store().set("k", "value", 1h);
  EXPECT_TRUE(store().expire("k"));
  EXPECT_FALSE(store().get("k"));
  EXPECT_FALSE(store().contains("k"));
  EXPECT_FALSE(store().touch("k", 1h));
  EXPECT_FALSE(store().persist("k"));
  EXPECT_FALSE(store().expire("k")) << "it is stale by now";
  Entry<std::string> entry = store().get_entry("k");
  EXPECT_EQ(entry.status, EntryStatus::stale);
  EXPECT_EQ(entry.value, "value");
  EXPECT_EQ(entry.left, 0ms);
  EXPECT_EQ(store().get_or_set("k", [] { return std::string("new"); }), "new");
  EXPECT_EQ(store().get("k"), "new");

  store().set("k", "value", {.version = 5});
  EXPECT_FALSE(store().expire("k", {.version = 6}));
  EXPECT_TRUE(store().expire("k", {.version = 5}));

  // A store without both cannot tell the lifetime.
  if (!quirks().has_ttl && !quirks().has_compare) return;
  store().set("k", "value", short_life());
  EXPECT_TRUE(store().expire("k"));
  outlive();
  EXPECT_EQ(store().get_entry("k").status, EntryStatus::miss) << "its lifetime stays";
}

TEST_P(BackendConformance, ExpireKeepsTagsAndOtherMetadata) {
  store().set("k", "value", {.timeout = 1h, .tags = {"posts"}});
  EXPECT_TRUE(store().expire("k"));
  const Entry<std::string> entry = store().get_entry("k");
  EXPECT_EQ(entry.status, EntryStatus::stale);
  EXPECT_EQ(entry.tags, std::vector<std::string>{"posts"});
  store().erase_tag("posts");
  EXPECT_EQ(store().get_entry("k").status, EntryStatus::miss);

  const std::int64_t now = milliseconds_now();
  const std::string fields = "\x01\x50" + std::string(80, 'f');
  store().backend().put(store().final_key("k"),
                        frame(0, now - 7000, now + 3'600'000, 60, fields, "v"), Ttl(1min),
                        PutMode::always);
  EXPECT_TRUE(store().expire("k"));
  std::string stored;
  store().backend().get(store().final_key("k"), [&](std::string_view bytes) { stored = bytes; });
  EXPECT_EQ(stored, frame(2, now - 7000, now + 3'600'000, 60, fields, "v"));
}

TEST_P(BackendConformance, ExpireTurnsACounterIntoAValue) {
  store().set("n", 41);
  EXPECT_TRUE(store().expire("n"));
  EXPECT_EQ(store().get_entry<int>("n").value, 41);
  if (!quirks().has_counters) return;
  EXPECT_THROW(store().incr("n"), KeyNotFound);
  EXPECT_EQ(store().incr("n", 1, {.initial = 6}), 7);
}

TEST_P(BackendConformance, ExpireChangesNothingThatIsNotLive) {
  for (const NotLive& entry : entries_that_are_not_live()) {
    SCOPED_TRACE(entry.what);
    const std::string key = store().final_key("k");
    store().backend().put(key, entry.bytes, Ttl(1min), PutMode::always);
    EXPECT_FALSE(store().expire("k"));
    std::string stored;
    store().backend().get(key, [&](std::string_view bytes) { stored = bytes; });
    EXPECT_EQ(stored, entry.bytes);
    EXPECT_FALSE(store().persist("k"));
    EXPECT_FALSE(store().get("k", {.touch = 1h}));
  }
}

// A counter that another client changes at the same time is marked, or counts on; nothing is lost.
TEST_P(BackendConformance, ExpireLosesNoWriteOfAnotherThread) {
  if (!quirks().has_compare) return;
  const int rounds = in_rounds([&](int round, int thread) {
    const std::string key = "k" + std::to_string(round);
    if (thread == 0) {
      store().set(key, "new");
    } else {
      store().expire(key);
    }
  });
  for (int round = 0; round < rounds; ++round) {
    EXPECT_EQ(store().get_entry("k" + std::to_string(round)).value, "new");
  }
}

TEST_P(BackendConformance, PersistTakesTheLifetimeAway) {
  EXPECT_FALSE(store().persist("k"));
  store().set("k", "value", short_life());
  store().set("tagged", "value", {.timeout = short_life(), .tags = {"posts"}});
  EXPECT_TRUE(store().persist("k"));
  EXPECT_TRUE(store().persist("tagged"));
  outlive();
  EXPECT_EQ(store().get("k"), "value");
  EXPECT_EQ(store().get("tagged"), "value");
  EXPECT_EQ(store().get_entry("k").left, std::nullopt);
  if (quirks().has_ttl) {
    EXPECT_TRUE(life_of_version("posts")->is_forever());
  }
  EXPECT_TRUE(store().persist("k")) << "again";
}

// A lifetime in the head of an entry, and one of the store.
TEST_P(BackendConformance, TouchAndPersistMoveTheFreshnessThatAHeadCarries) {
  const std::int64_t now = milliseconds_now();
  const std::string key = store().final_key("k");
  const auto put = [&] {
    store().backend().put(key, frame(0, now, now + 100'000, 60, {}, "v"), Ttl(160s),
                          PutMode::always);
  };
  const auto fresh_until = [&] {
    std::string stored;
    store().backend().get(key, [&](std::string_view bytes) { stored = bytes; });
    std::int64_t moment = 0;
    for (std::size_t i = 24; i-- > 16;) {
      moment = moment << 8 | static_cast<unsigned char>(stored.at(i));
    }
    return moment;
  };
  const auto life = [&]() -> std::optional<Ttl> {
    std::optional<Ttl> found;
    auto* const ttl = store().extension<TtlExtension>();
    if (ttl != nullptr) ttl->get(key, [&](std::string_view, Ttl left) { found = left; });
    return found;
  };
  const auto is_moved = [&] {
    EXPECT_GE(fresh_until(), now + 3'600'000);
    EXPECT_LE(fresh_until(), milliseconds_now() + 3'600'000);
    if (!quirks().has_ttl) return;
    EXPECT_GT(life()->value(), 1h + 50s) << "the stale window comes on top";
    EXPECT_LE(life()->value(), 1h + 60s + quirks().lateness + quirks().granularity);
  };
  put();
  EXPECT_TRUE(store().touch("k", 1h));
  is_moved();
  put();
  EXPECT_EQ(store().get("k", {.touch = 1h}), "v");
  is_moved();
  put();
  EXPECT_EQ(store().get_many({"k"}, {.touch = 1h})[0], "v");
  is_moved();
  put();
  const Entry<std::string> entry = store().get_entry("k", {.touch = 1h});
  EXPECT_EQ(entry.left, 1h);
  is_moved();
  EXPECT_TRUE(store().persist("k"));
  EXPECT_EQ(fresh_until(), 0);
  EXPECT_EQ(store().get_entry("k").left, std::nullopt);
  if (quirks().has_ttl) {
    EXPECT_TRUE(life()->is_forever());
  }
  EXPECT_EQ(store().get("k"), "v");
}

TEST_P(BackendConformance, AReadMayGiveItsEntryANewLifetime) {
  EXPECT_FALSE(store().get("k", {.touch = 1h}));
  EXPECT_FALSE(store().contains("k")) << "nothing is made";
  const auto store_all = [&] {
    for (const char* const key : {"a", "b", "c", "d", "e"}) store().set(key, "v", short_life());
    store().set("tagged", "v", {.timeout = short_life(), .tags = {"posts"}});
  };
  store_all();
  EXPECT_EQ(store().get("a", {.touch = 1h}), "v");
  EXPECT_TRUE(store().visit("b", [](std::string_view) {}, {.touch = never}));
  EXPECT_EQ(store().get_many({"c", "none"}, {.touch = 1h})[0], "v");
  EXPECT_EQ(store().get_entry("d", {.touch = 1h}).value, "v");
  EXPECT_EQ(store().get("tagged", {.touch = 1h}), "v");
  EXPECT_EQ(store().get("e", {.touch = {}}), "v");
  if (quirks().has_ttl) {
    const Entry<std::string> entry = store().get_entry("a");
    EXPECT_GT(entry.left.value_or(0ms), 59min);
    EXPECT_GT(life_of_version("posts")->value(), 1h) << "versions outlive their entries";
  }
  outlive();
  for (const char* const key : {"a", "b", "c", "d", "tagged"}) {
    EXPECT_EQ(store().get(key), "v") << key;
  }
  EXPECT_FALSE(store().get("e")) << "{} means that nothing was said";
}

TEST_P(BackendConformance, AReadWithATouchOfZeroErases) {
  store().set_many({{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}});
  EXPECT_EQ(store().get("a", {.touch = 0s}), "1");
  EXPECT_EQ(store().get_many({"b"}, {.touch = -1s})[0], "2");
  EXPECT_EQ(store().get_entry("c", {.touch = 0s}).value, "3");
  EXPECT_TRUE(store().visit("d", [](std::string_view) {}, {.touch = 0s}));
  for (const char* const key : {"a", "b", "c", "d"}) EXPECT_FALSE(store().contains(key)) << key;
}

TEST_P(BackendConformance, AReadThatRenewsKeepsNothingStaleAlive) {
  store().set("k", "value", 1h);
  store().expire("k");
  EXPECT_FALSE(store().get("k", {.touch = 2h}));
  EXPECT_EQ(store().get_entry("k").status, EntryStatus::stale);
  store().set("k", "value", {.timeout = 1h, .tags = {"posts"}});
  store().erase_tag("posts");
  EXPECT_FALSE(store().get("k", {.touch = 2h}));
  EXPECT_FALSE(store().get("k"));
}

// --- renew/1 ---

TEST_P(BackendConformance, RenewReadsAndGivesANewLifetime) {
  auto* const renew = store().extension<RenewExtension>();
  ASSERT_EQ(renew != nullptr, quirks().has_renew);
  if (renew == nullptr) return;
  const std::string key = store().final_key("k");
  std::vector<std::string> seen;
  const auto sink = [&](std::string_view value) { seen.emplace_back(value); };
  EXPECT_FALSE(renew->get(key, Ttl(1h), sink));
  EXPECT_FALSE(store().contains("k"));
  const std::string large(300'000, 'x');
  for (const std::string& value :
       {std::string("value"), std::string(), large, std::string("\0\r\n\xFF", 4)}) {
    seen.clear();
    store().backend().put(key, value, Ttl(short_life()), PutMode::always);
    EXPECT_TRUE(renew->get(key, Ttl(1h), sink));
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_TRUE(same_bytes(seen[0], value));
  }
  store().backend().put(store().final_key("ever"), "v", Ttl(short_life()), PutMode::always);
  EXPECT_TRUE(renew->get(store().final_key("ever"), Ttl::forever(), sink));
  store().backend().put(store().final_key("short"), "v", Ttl::forever(), PutMode::always);
  EXPECT_TRUE(renew->get(store().final_key("short"), Ttl(short_life()), sink));
  outlive();
  EXPECT_TRUE(store().contains("k"));
  EXPECT_TRUE(store().contains("ever"));
  EXPECT_FALSE(store().contains("short"));
  EXPECT_FALSE(renew->get(store().final_key("short"), Ttl(1h), sink)) << "it has expired";
  EXPECT_FALSE(store().contains("short"));
  if (quirks().has_ttl) {
    EXPECT_GT(store().get_entry("k").left.value_or(0ms), 50min);
    EXPECT_EQ(store().get_entry("ever").left, std::nullopt);
  }
  if (quirks().has_counters) {
    store().set("n", 7, short_life());
    EXPECT_TRUE(renew->get(store().final_key("n"), Ttl(1h), sink));
    EXPECT_EQ(seen.back(), "7");
    EXPECT_EQ(store().incr("n"), 8);
  }
}

// --- A store that keeps nothing ---

TEST_P(KeepsNothingConformance, HasNoEntryToExpirePersistOrRenew) {
  store().set("k", "value");
  EXPECT_EQ(store().get_entry("k").status, EntryStatus::miss);
  EXPECT_EQ(store().pop_entry("k").status, EntryStatus::miss);
  EXPECT_FALSE(store().expire("k"));
  EXPECT_FALSE(store().persist("k"));
  EXPECT_FALSE(store().get("k", {.touch = 1h}));
  EXPECT_FALSE(store().get("k", {.touch = 0s}));
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
