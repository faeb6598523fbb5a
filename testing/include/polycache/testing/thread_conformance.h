// This part of the conformance suite tests threads and processes that share a store.

#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, ThreadsHaveCachesOfTheirOwnAndOneStore) {
  Cache* const mine = &store();
  store().set("k", "shared");
  on_threads(2, [&](int) {
    EXPECT_NE(&store(), mine);
    EXPECT_EQ(&store(), &store());
    EXPECT_EQ(store().get("k"), "shared");
  });
}

TEST_P(BackendConformance, NoIncrementIsLostBetweenThreads) {
  if (!quirks().has_counters) return;
  store().set("n", 0);
  const int rounds = in_rounds([&](int, int i) { store().incr("n", i % 2 == 0 ? 3 : -1); });
  EXPECT_EQ(store().get<int>("n"), 4 * rounds);
  on_threads(4, [&](int) {
    for (int n = 0; n < 25; ++n) store().incr("fresh", 1, {.initial = 0});
  });
  EXPECT_EQ(store().get<int>("fresh"), 100);
}

TEST_P(BackendConformance, NoUpdateIsLostBetweenThreads) {
  if (!quirks().has_compare) {
    EXPECT_THROW(store().update<int>("n", [](auto) { return 1; }), BackendError);
    return;
  }
  const int rounds = in_rounds([&](int, int i) {
    store().update<int>("n", [&](std::optional<int> old) { return old.value_or(0) + i; });
  });
  EXPECT_EQ(store().get<int>("n"), (0 + 1 + 2 + 3) * rounds);
}

TEST_P(BackendConformance, WhatOneSessionWritesAnotherReadsAtOnce) {
  EXPECT_TRUE(store().set("k", "first"));
  EXPECT_EQ(store().get("k"), "first");
  on_threads(1, [&](int) { store().set("k", "second"); });
  EXPECT_EQ(store().get("k"), "second");
  on_threads(1, [&](int) { EXPECT_TRUE(store().erase("k")); });
  EXPECT_FALSE(store().get("k"));
  EXPECT_FALSE(store().contains("k"));
  on_threads(1, [&](int) { EXPECT_TRUE(store().add("k", "third")); });
  EXPECT_FALSE(store().add("k", "fourth"));
  EXPECT_EQ(store().get_many({"k"})[0], "third");
  on_threads(1, [&](int) { store().clear(); });
  EXPECT_FALSE(store().get("k"));
}

// If a store checks first and stores in a second step, two threads win sooner or later.
TEST_P(BackendConformance, OneOfManyAddsWins) {
  const std::string large(100'000, 'x');  // takes a while to store
  Winners winners{};
  const int rounds = in_rounds([&](int round, int i) {
    const std::string key = "k" + std::to_string(round);
    const bool is_new = round % 4 == 0 ? store().add(key, large) : store().add(key, i);
    winners[static_cast<std::size_t>(round)] += is_new ? 1 : 0;
  });
  EXPECT_EQ(unfair(winners, rounds), 0) << "put(if_absent) is not atomic";
}

TEST_P(BackendConformance, OneOfManyErasesAndPopsWins) {
  std::map<std::string, int> items;
  for (int round = 0; round < most_rounds; ++round) items["k" + std::to_string(round)] = round;
  store().set_many(items);
  Winners winners{};
  const int rounds = in_rounds([&](int round, int) {
    const std::string key = "k" + std::to_string(round);
    const bool mine = round % 4 < 2 ? store().erase(key) : store().pop(key).has_value();
    winners[static_cast<std::size_t>(round)] += mine ? 1 : 0;
  });
  EXPECT_EQ(unfair(winners, rounds), 0) << "erase or pop is not atomic";
}

TEST_P(BackendConformance, OneOfManyComparesWins) {
  if (!quirks().has_compare) return;
  std::map<std::string, int> items;
  for (int round = 0; round < most_rounds; ++round) items["k" + std::to_string(round)] = 0;
  store().set_many(items);
  Winners winners{};
  const int rounds = in_rounds([&](int round, int i) {
    const std::string key = store().final_key("k" + std::to_string(round));
    auto* const compare = store().extension<CompareExtension>();
    const bool mine = round % 4 < 2
                          ? compare->put_if_equal(key, "0", std::to_string(i + 1), Ttl(1min))
                          : compare->erase_if_equal(key, "0");
    winners[static_cast<std::size_t>(round)] += mine ? 1 : 0;
  });
  EXPECT_EQ(unfair(winners, rounds), 0) << "comparing and changing is not atomic";
}

TEST_P(BackendConformance, ProcessesShareWhatIsSharedAndForkIsSafe) {
  store().set("n", 0);
  store().set("before", "fork");
  constexpr int processes = 3;
  constexpr int times = 50;
  const auto count = [&] {
    if (quirks().has_counters) store().incr("n");
  };
  in_processes(processes, [&](int child) {
    // If the store is not shared, a child has a copy or an empty store.
    const std::optional<std::string> before = store().get("before");
    if (before != "fork" && (before || quirks().shared_between_processes)) return false;
    if (!quirks().shared_between_processes) store().set("n", 0);
    for (int i = 0; i < times; ++i) count();
    store().set("child:" + std::to_string(child), child);
    const int value = store().get_or_set("made:" + std::to_string(getpid()), [] { return 4; });
    return value == 4;
  });
  // The parent's session was open all the time and still works.
  EXPECT_EQ(store().get("before"), "fork");
  const bool shared = quirks().shared_between_processes;
  for (int child = 0; child < processes; ++child) {
    EXPECT_EQ(store().get<int>("child:" + std::to_string(child)),
              shared ? std::optional(child) : std::nullopt);
  }
  if (!quirks().has_counters) return;
  EXPECT_EQ(store().get<int>("n"), shared ? processes * times : 0);
  EXPECT_EQ(store().incr("n"), shared ? processes * times + 1 : 1);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
