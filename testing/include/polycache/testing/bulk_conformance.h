// This part of the conformance suite tests operations on many keys at once, clear and close.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

// --- Many at once ---

TEST_P(BackendConformance, GetManyAnswersInTheOrderOfTheKeys) {
  store().set_many({{"a", 1}, {"b", 2}, {"c", 3}});
  const std::vector<std::string> keys{"c", "absent", "a", "c", "b"};
  const auto values = store().get_many<int>(keys);
  const std::vector<std::optional<int>> wanted{3, std::nullopt, 1, 3, 2};
  EXPECT_EQ(values, wanted);
  const std::map<std::string, int, std::less<>> map{{"a", 1}, {"c", 3}};
  EXPECT_EQ(store().get_many_map<int>({"a", "c", "absent", "a"}), map);
  EXPECT_TRUE(store().get_many(std::vector<std::string>()).empty());
}

TEST_P(BackendConformance, SetManyStoresEverything) {
  EXPECT_TRUE(store().set_many({{"i", 1}, {"s", "text"}, {"e", ""}, {"d", 2.5}}).empty());
  EXPECT_EQ(store().get<int>("i"), 1);
  EXPECT_EQ(store().get("s"), "text");
  EXPECT_EQ(store().get("e"), "");
  EXPECT_EQ(store().get<double>("d"), 2.5);
  EXPECT_TRUE(store().set_many(std::map<std::string, int>{{"i", 5}}).empty());
  EXPECT_EQ(store().get<int>("i"), 5);
  EXPECT_TRUE(store().set_many(std::map<std::string, int>()).empty());
  EXPECT_TRUE(store().set_many({{"short", 1}}, short_life()).empty());
  outlive();
  EXPECT_FALSE(store().contains("short"));
}

TEST_P(BackendConformance, EraseManyCountsLiveEntries) {
  store().set_many({{"a", 1}, {"b", 2}, {"c", 3}});
  EXPECT_EQ(store().erase_many({"a", "absent", "b"}), 2U);
  EXPECT_EQ(store().erase_many({"a", "b"}), 0U);
  EXPECT_EQ(store().erase_many(std::vector<std::string>()), 0U);
  EXPECT_TRUE(store().contains("c"));
}

TEST_P(BackendConformance, PutManyNamesWhatWasNotStored) {
  Backend& session = store().backend();
  std::array<std::string, 4> keys;
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = store().final_key(std::to_string(i));
  const auto put_all = [&](std::span<const Item> items, PutMode mode) {
    std::vector<std::size_t> failures;
    session.put_many(items, mode, [&](std::size_t i) { failures.push_back(i); });
    std::sort(failures.begin(), failures.end());
    return failures;
  };
  using Failures = std::vector<std::size_t>;
  store().set("1", "old");
  const std::array<Item, 3> added{Item{keys[0], "new", Ttl(1min)}, Item{keys[1], "new", Ttl(1min)},
                                  Item{keys[2], "new", Ttl(1min)}};
  EXPECT_EQ(put_all(added, PutMode::if_absent), Failures{1});
  EXPECT_EQ(store().get("1"), "old");
  EXPECT_EQ(store().get("2"), "new");
  const std::array<Item, 2> replaced{Item{keys[3], "newer", Ttl(1min)},
                                     Item{keys[1], "newer", Ttl(1min)}};
  EXPECT_EQ(put_all(replaced, PutMode::if_present), Failures{0});
  EXPECT_FALSE(store().contains("3"));
  EXPECT_EQ(store().get("1"), "newer");
  const std::array<Item, 2> lives{Item{keys[0], "short", Ttl(short_life())},
                                  Item{keys[1], "long", Ttl::forever()}};
  EXPECT_EQ(put_all(lives, PutMode::always), Failures{});
  outlive();
  EXPECT_FALSE(store().contains("0")) << "each item has its own lifetime";
  EXPECT_EQ(store().get("1"), "long");
}

// --- One key twice in one bulk operation: as if the operations came one after another ---

TEST_P(BackendConformance, SetManyOfOneKeyTwiceKeepsTheLastValue) {
  store().set("k", "old");
  EXPECT_TRUE(store().set_many({{"k", "first"}, {"other", "o"}, {"k", "last"}}).empty());
  EXPECT_EQ(store().get("k"), "last");
  EXPECT_EQ(store().get("other"), "o");
  std::vector<std::pair<std::string, std::string>> items;  // of several batches and servers
  for (int i = 0; i < 3000; ++i) {
    items.emplace_back("k" + std::to_string(i % 100), std::to_string(i));
  }
  EXPECT_TRUE(store().set_many(items).empty());
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(store().get<int>("k" + std::to_string(i)), 2900 + i);
  }
  EXPECT_TRUE(store().set_many({{"k", 1}, {"k", 2}}, 0s).empty());
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, PutManyOfOneKeyTwiceIsAsOneAfterAnother) {
  Backend& session = store().backend();
  std::array<std::string, 4> keys;
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = store().final_key(std::to_string(i));
  const auto put_twice = [&](std::size_t key, Ttl first, Ttl second, PutMode mode) {
    const std::array<Item, 2> items{Item{keys[key], "first", first},
                                    Item{keys[key], "second", second}};
    std::set<std::size_t> failures;
    session.put_many(items, mode, [&](std::size_t i) { failures.insert(i); });
    return failures;
  };
  using Failures = std::set<std::size_t>;
  const Ttl brief(short_life());
  EXPECT_EQ(put_twice(0, brief, Ttl::forever(), PutMode::always), Failures{});
  EXPECT_EQ(put_twice(1, Ttl::forever(), brief, PutMode::always), Failures{});
  EXPECT_EQ(put_twice(2, Ttl::forever(), brief, PutMode::if_absent), Failures{1});
  EXPECT_EQ(put_twice(2, Ttl(1min), Ttl::forever(), PutMode::if_present), Failures{});
  EXPECT_EQ(put_twice(3, brief, brief, PutMode::if_present), (Failures{0, 1}));
  outlive();
  EXPECT_EQ(store().get("0"), "second");
  EXPECT_FALSE(store().contains("1"));
  EXPECT_EQ(store().get("2"), "second");
  EXPECT_FALSE(store().contains("3"));
}

TEST_P(BackendConformance, ARefusedValueInABulkWriteOfOneKeyTwiceIsAsOneAfterAnother) {
  if (quirks().refuses_value_of == 0) return;
  const std::string large(quirks().refuses_value_of, 'x');
  const auto is_large = [&](const std::string& value) { return value.size() == large.size(); };
  const std::vector<std::vector<std::string>> sequences{
      {large, "last"}, {"first", large}, {"first", large, "last"}, {large, "last", "other"}};
  for (const std::vector<std::string>& values : sequences) {
    store().set("k", "old");
    warnings_.clear();
    std::vector<std::pair<std::string, std::string>> items;
    for (const std::string& value : values) items.emplace_back("k", value);
    EXPECT_EQ(store().set_many(items), std::vector<std::string>{"k"});
    EXPECT_EQ(warnings_of(Warning::Kind::value_refused), 1U);
    const std::string& last = values.back();
    EXPECT_TRUE(same_bytes(store().get_or_set("k", "none"), is_large(last) ? "none" : last));
  }
  store().set("k", "old");
  EXPECT_EQ(store().set_many({{"k", large}, {"k", large}}), (std::vector<std::string>{"k", "k"}));
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, EraseManyOfOneKeyTwiceCountsOne) {
  store().set_many({{"a", 1}, {"b", 2}});
  EXPECT_EQ(store().erase_many({"a", "absent", "b", "a", "absent", "a"}), 2U);
  std::map<std::string, int> items;
  std::vector<std::string> keys;  // of several batches and servers
  for (int i = 0; i < 3000; ++i) {
    keys.push_back("k" + std::to_string(i % 100));
    items[keys.back()] = i;
  }
  store().set_many(items);
  EXPECT_EQ(store().erase_many(keys), 100U);
}

TEST_P(BackendConformance, GetManyAnswersOneKeyAsOftenAsItIsAsked) {
  std::map<std::string, int, std::less<>> items;
  for (int i = 0; i < 100; ++i) items["k" + std::to_string(i)] = i;
  store().set_many(items);
  std::vector<std::string> keys;
  for (int i = 0; i < 3000; ++i) keys.push_back("k" + std::to_string(i % 101));
  const auto values = store().get_many<int>(keys);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const int number = static_cast<int>(i % 101);
    ASSERT_EQ(values[i], number < 100 ? std::optional(number) : std::nullopt) << keys[i];
  }
  EXPECT_EQ(store().get_many_map<int>(keys), items);
  auto* const ttl = store().extension<TtlExtension>();
  if (ttl == nullptr) return;
  const std::array<std::string, 2> final_keys{store().final_key("k1"), store().final_key("k2")};
  const std::array<std::string_view, 4> asked{final_keys[0], final_keys[1], final_keys[0],
                                              final_keys[0]};
  std::map<std::size_t, std::string> answers;
  ttl->get_many(asked, [&](std::size_t i, std::string_view value, Ttl) { answers[i] = value; });
  EXPECT_EQ(answers, (std::map<std::size_t, std::string>{{0, "1"}, {1, "2"}, {2, "1"}, {3, "1"}}));
}

TEST_P(BackendConformance, ThousandsAtOnce) {
  std::map<std::string, std::string> items;
  for (int i = 0; i < 3000; ++i) {
    items["key" + std::to_string(i)] = std::string(static_cast<std::size_t>(i % 300), 'v');
  }
  EXPECT_TRUE(store().set_many(items).empty());
  std::vector<std::string> keys;
  for (const auto& [key, value] : items) {
    keys.push_back(key);
    keys.push_back("absent-" + key);
  }
  const auto found = store().get_many_map(keys);
  EXPECT_EQ(found.size(), items.size());
  EXPECT_TRUE(std::equal(found.begin(), found.end(), items.begin()));
  EXPECT_EQ(store().erase_many(keys), items.size());
}

// --- clear, close ---

TEST_P(BackendConformance, ClearRemovesEverything) {
  store().set("k", 1);
  store().set("k", 1, {.version = 99});
  store().backend().put("foreign-key", "v", Ttl(1min), PutMode::always);
  std::map<std::string, int> many;
  for (int i = 0; i < 300; ++i) many["many" + std::to_string(i)] = i;
  store().set_many(many);
  std::vector<std::string> keys;
  for (const auto& [key, value] : many) keys.push_back(key);
  store().clear();
  EXPECT_TRUE(store().get_many_map<int>(keys).empty());
  EXPECT_FALSE(store().contains("k"));
  EXPECT_FALSE(store().contains("k", {.version = 99}));
  EXPECT_FALSE(store().backend().contains("foreign-key", [](std::string_view) {}));
  store().set("k", 2);
  EXPECT_EQ(store().get<int>("k"), 2);
}

TEST_P(BackendConformance, ClearOfAPrefixLeavesTheOthers) {
  Config config = config_;
  config.caches["store"].clear = ClearScope::prefix;
  if (!quirks().has_erase_prefix || GetParam().variant == KeyVariant::key_function) {
    EXPECT_THROW(CacheRegistry(config, environment()), ConfigError);
    return;
  }
  config.caches["other"] = config.caches["store"];
  config.caches["other"].key_prefix = "other*prefix[a]";
  registry().reconfigure(config);
  for (const char* key : {"a", "b"}) {
    registry()["store"].set(key, 1);
    registry()["store"].set(key, 1, {.version = 5});
    registry()["other"].set(key, 2);
  }
  registry()["store"].clear();
  EXPECT_FALSE(registry()["store"].contains("a"));
  EXPECT_FALSE(registry()["store"].contains("b", {.version = 5}));
  EXPECT_EQ(registry()["other"].get<int>("b"), 2);
  registry()["store"].set("a", 3);
  registry()["other"].clear();
  EXPECT_FALSE(registry()["other"].contains("a"));
  EXPECT_EQ(registry()["store"].get<int>("a"), 3);
}

TEST_P(BackendConformance, AClosedCacheOpensAgain) {
  store().set("k", 1);
  store().close();
  store().close();
  EXPECT_EQ(store().get<int>("k"), 1);
  registry().close_all();
  EXPECT_EQ(store().get<int>("k"), 1);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
