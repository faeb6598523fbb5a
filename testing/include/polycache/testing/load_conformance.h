// The part of the conformance suite about get_or_set() with LoadOptions. backend_conformance.h
// includes it.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, AnEntryWithTimesIsLiveForEveryOperation) {
  const LoadOptions options{.timeout = 1h, .refresh_after = 0.8, .stale_if_error = 1h};
  EXPECT_EQ(store().get_or_set("k", computed, options), "computed");
  EXPECT_EQ(store().get("k"), "computed");
  EXPECT_EQ(store().get_many({"k"})[0], "computed");
  EXPECT_TRUE(store().contains("k"));
  EXPECT_FALSE(store().add("k", "other"));
  EXPECT_EQ(store().get_or_set("k", fails), "computed");
  EXPECT_EQ(store().get_or_set("k", fails, options), "computed");
  EXPECT_TRUE(store().set("k", "set"));
  EXPECT_EQ(store().get_or_set("k", fails, options), "set") << "a plain entry";
}

TEST_P(BackendConformance, AnOldValueIsRefreshed) {
  store_old("old");
  EXPECT_EQ(store().get("k"), "old");
  EXPECT_EQ(store().get_or_set("k", fails, {.refresh_after = 0.9}), "old");
  EXPECT_EQ(store().get_or_set("k", computed, {.refresh_after = 0.8}), "computed");
  EXPECT_EQ(store().get("k"), "computed");
  store_old("old");
  EXPECT_EQ(store().get_or_set("k", computed, {.refresh_after = 49min}), "computed");
  EXPECT_EQ(store().get("k"), "computed");
}

TEST_P(BackendConformance, ARefreshThatFailsReturnsTheOldValue) {
  store_old("old");
  EXPECT_EQ(store().get_or_set("k", fails, {.refresh_after = 0.8}), "old");
  EXPECT_EQ(store().get("k"), "old");
}

TEST_P(BackendConformance, AnotherWriterWinsAgainstARefresh) {
  store_old("old");
  store().get_or_set("k",
                     [&] {
                       // Not through the cache, as another process does it.
                       store().backend().put(store().final_key("k"), "newer", Ttl(1h),
                                             PutMode::always);
                       return std::string("computed");
                     },
                     {.refresh_after = 0.8});
  const bool compares = store().extension<CompareExtension>() != nullptr;
  EXPECT_EQ(store().get("k"), compares ? "newer" : "computed");
  store_old("old");
  store().get_or_set("k",
                     [&] {
                       store().backend().erase(store().final_key("k"));
                       return std::string("computed");
                     },
                     {.refresh_after = 0.8});
  EXPECT_EQ(store().contains("k"), !compares);
}

TEST_P(BackendConformance, AStaleValueServesWhileTheComputationFails) {
  store_stale("stale");
  EXPECT_FALSE(store().get("k"));
  EXPECT_FALSE(store().contains("k"));
  EXPECT_THROW(store().get_or_set("k", fails), std::runtime_error);
  const LoadOptions options{.stale_if_error = 1h};
  EXPECT_EQ(store().get_or_set("k", fails, options), "stale");
  EXPECT_EQ(store().get_or_set("k", computed, options), "stale") << "for 30 s";
  EXPECT_EQ(store().get_or_set("k", computed), "computed");
  EXPECT_EQ(store().get("k"), "computed");
}

TEST_P(BackendConformance, AStaleValueCanBeGoodForAnotherLifetime) {
  store_stale("stale");
  EXPECT_EQ(store().get_or_set("k",
                               [](Load& load) -> Loaded<std::string> {
                                 EXPECT_EQ(load.stale(), "stale");
                                 return load.not_modified();
                               }),
            "stale");
  EXPECT_EQ(store().get("k"), "stale");
}

// The lease of a value that stays readable is an entry of its own, whose key every store must take.
TEST_P(BackendConformance, AStaleOrOldValueIsComputedUnderALease) {
  if (!quirks().has_compare) return;
  for (const std::string& key : {std::string("k"), std::string(200, 'k')}) {
    store().set(key, "old");
    EXPECT_TRUE(store().expire(key));
    EXPECT_EQ(store().get_or_set(key, computed, {.lease = 10s}), "computed");
    EXPECT_EQ(store().get(key), "computed");
  }
  store_old("old");
  EXPECT_EQ(store().get_or_set("k", computed, {.refresh_after = 0.8, .lease = 10s}), "computed");
  EXPECT_EQ(store().get("k"), "computed");
  EXPECT_TRUE(warnings_.empty());
}

TEST_P(BackendConformance, ThatThereIsNoSuchThingIsRemembered) {
  int asked = 0;
  const auto nobody = [&]() -> std::optional<std::string> {
    ++asked;
    return std::nullopt;
  };
  EXPECT_FALSE(store().get_or_set("k", nobody));
  EXPECT_FALSE(store().get_or_set("k", nobody));
  EXPECT_EQ(asked, 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(store().get_or_set("k", nobody, {.negative_timeout = 1h}));
  }
  EXPECT_EQ(asked, 3);
  EXPECT_FALSE(store().contains("k"));
  EXPECT_FALSE(store().get("k"));
  EXPECT_TRUE(store().add("k", "there"));
  EXPECT_EQ(store().get_or_set("k", nobody), "there");
}

TEST_P(BackendConformance, AnErasureDuringTheComputationWins) {
  EXPECT_EQ(store().get_or_set("k",
                               [&] {
                                 store().erase("k");
                                 return std::string("computed");
                               }),
            "computed");
  EXPECT_FALSE(store().contains("k"));
  store().get_or_set("k", [&] {
    store().set("k", "set");
    return std::string("computed");
  });
  EXPECT_EQ(store().get("k"), "set");
}

TEST_P(BackendConformance, TagsOfALoadInvalidateItsEntry) {
  const auto tagged = [](Load& load) {
    load.tag("posts");
    return std::string("computed");
  };
  EXPECT_EQ(store().get_or_set("k", tagged, {.tags = {"users"}}), "computed");
  EXPECT_EQ(store().get("k"), "computed");
  store().erase_tag("posts");
  EXPECT_FALSE(store().get("k"));
  store().get_or_set("k", tagged, {.tags = {"users"}});
  store().erase_tag("users");
  EXPECT_FALSE(store().get("k"));
  const LoadOptions remembered{.tags = {"users"}, .negative_timeout = 1h};
  int asked = 0;
  const auto nobody = [&]() -> std::optional<std::string> {
    ++asked;
    return std::nullopt;
  };
  store().get_or_set("k", nobody, remembered);
  store().get_or_set("k", nobody, remembered);
  EXPECT_EQ(asked, 1);
  store().erase_tag("users");
  store().get_or_set("k", nobody, remembered);
  EXPECT_EQ(asked, 2) << "a negative entry has tags, too";
}

TEST_P(BackendConformance, GetOrSetManyComputesWhatIsAbsentInOneCall) {
  store().set("a", "stored");
  std::vector<std::vector<std::string>> calls;
  const auto load = [&](std::span<const std::string> keys) {
    calls.emplace_back(keys.begin(), keys.end());
    std::vector<std::optional<std::string>> made;
    for (const std::string& key : keys) {
      made.push_back(key == "nobody" ? std::nullopt : std::optional(key + "!"));
    }
    return made;
  };
  using Values = std::vector<std::optional<std::string>>;
  const std::vector<std::string> keys{"a", "b", "nobody", "c", "b"};
  EXPECT_EQ(store().get_or_set_many<std::string>(keys, load),
            (Values{"stored", "b!", std::nullopt, "c!", "b!"}));
  EXPECT_EQ(calls, (std::vector<std::vector<std::string>>{{"b", "nobody", "c"}}));
  EXPECT_EQ(store().get("b"), "b!");
  EXPECT_EQ(store().get_or_set_many<std::string>(keys, load, {.negative_timeout = 1h})[2],
            std::nullopt);
  EXPECT_EQ(calls.back(), std::vector<std::string>{"nobody"});
  store().get_or_set_many<std::string>(keys, load);
  EXPECT_EQ(calls.size(), 2U) << "it is remembered that there is nobody";
}

TEST_P(BackendConformance, GetOrSetManyRefreshesAndFallsBackKeyByKey) {
  const auto load = [](std::span<const std::string> keys) {
    std::map<std::string, std::string> made;
    for (const std::string& key : keys) made.emplace(key, "new");
    return made;
  };
  const auto down = [](std::span<const std::string>) -> std::vector<std::string> {
    throw std::runtime_error("the origin is down");
  };
  using Values = std::vector<std::optional<std::string>>;
  store_old("old");
  const LoadOptions refreshed{.refresh_after = 0.8};
  EXPECT_EQ(store().get_or_set_many<std::string>({"k"}, load), Values{"old"});
  EXPECT_EQ(store().get_or_set_many<std::string>({"k", "x"}, load, refreshed),
            (Values{"new", "new"}));
  EXPECT_EQ(store().get("k"), "new");
  store_old("old");
  EXPECT_EQ(store().get_or_set_many<std::string>({"k"}, down, refreshed), Values{"old"});
  store_stale("stale");
  const LoadOptions kept{.stale_if_error = 1h};
  EXPECT_EQ(store().get_or_set_many<std::string>({"x", "k"}, down, kept), (Values{"new", "stale"}));
  store().set("known", "value");
  try {
    store().get_or_set_many<std::string>({"known", "k", "unknown"}, down, kept);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const PartialLoad& error) {
    EXPECT_EQ(error.keys(), std::vector<std::string>{"unknown"});
    EXPECT_EQ(error.values<std::string>().at("known"), "value");
    EXPECT_EQ(error.values<std::string>().at("k"), "stale");
    EXPECT_THROW(error.rethrow_nested(), std::runtime_error);
  }
}

TEST_P(BackendConformance, GetOrSetManyHasTags) {
  const auto load = [](std::span<const std::string> keys) {
    return std::vector<int>(keys.size(), 5);
  };
  const LoadOptions tagged{.tags = {"numbers"}};
  store().get_or_set_many<int>({"a", "b"}, load, tagged);
  EXPECT_EQ(store().get<int>("a"), 5);
  store().erase_tag("numbers");
  EXPECT_FALSE(store().get<int>("a"));
  EXPECT_EQ(store().get_or_set_many<int>({"a", "b"}, load, tagged),
            (std::vector<std::optional<int>>{5, 5}));
  EXPECT_EQ(store().get<int>("b"), 5);
}

TEST_P(BackendConformance, ThreadsOfGetOrSetManyComputeEachKeyOnce) {
  std::array<std::atomic<int>, 8> computed{};
  on_threads(8, [&](int thread) {
    std::vector<std::string> keys;
    for (int i = 0; i < 4; ++i) keys.push_back("k" + std::to_string((thread + i) % 8));
    const auto values =
        store().get_or_set_many<int>(keys, [&](std::span<const std::string> absent) {
          std::map<std::string, int> made;
          for (const std::string& key : absent) {
            const int number = key[1] - '0';
            ++computed[static_cast<std::size_t>(number)];
            made.emplace(key, number);
          }
          return made;
        });
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(values[static_cast<std::size_t>(i)], (thread + i) % 8);
    }
  });
  for (const auto& times : computed) EXPECT_EQ(times, 1);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
