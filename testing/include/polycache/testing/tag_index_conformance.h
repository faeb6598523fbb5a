// The part of the conformance suite about a store's index of tags: Cache::create_tag_index() and
// drop_tag_index(), and the extension tag_index/1 below them. backend_conformance.h includes it.

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, AStoreWithoutAnIndexOfTagsSaysWhichStoresHaveOne) {
  ASSERT_EQ(store().extension<TagIndexExtension>() != nullptr, quirks().has_tag_index);
  if (quirks().has_tag_index) return;
  for (const auto& change : {&Cache::create_tag_index, &Cache::drop_tag_index}) {
    try {
      (store().*change)();
      ADD_FAILURE() << "did not throw";
    } catch (const BackendError& error) {
      EXPECT_EQ(error.kind(), BackendError::Kind::unsupported);
      EXPECT_NE(std::string(error.what()).find("locmem, sqlite"), std::string::npos)
          << error.what();
    }
  }
}

TEST_P(BackendConformance, TheIndexOfTagsIsOffUntilItIsMade) {
  if (!quirks().has_tag_index) return;
  auto& index = *store().extension<TagIndexExtension>();
  EXPECT_FALSE(index.has_index());
  EXPECT_FALSE(store().drop_tag_index());
  EXPECT_TRUE(store().create_tag_index());
  EXPECT_TRUE(index.has_index());
  EXPECT_FALSE(store().create_tag_index());
  EXPECT_TRUE(store().drop_tag_index());
  EXPECT_FALSE(index.has_index());
  EXPECT_FALSE(store().drop_tag_index());
  EXPECT_TRUE(store().create_tag_index());
  EXPECT_TRUE(store().drop_tag_index());
}

TEST_P(BackendConformance, EraseTagRemovesAndCountsTheEntriesOfTheIndex) {
  if (!quirks().has_tag_index) return;
  store().set("before", "v", {.tags = {"posts"}});
  store().create_tag_index();
  store().set("after", "v", {.tags = {"posts", "user:7"}});
  store().set_many({{"many:1", 1}, {"many:2", 2}}, {.tags = {"posts"}});
  store().add("added", "v", {.tags = {"posts"}});
  store().get_or_set("computed", [] { return std::string("v"); }, {.tags = {"posts"}});
  store().set("moved", "v", {.tags = {"posts"}});
  store().incr_version("moved");
  store().set("other", "v", {.tags = {"user:8"}});
  store().set("plain", "v");
  EXPECT_EQ(store().erase_tag("posts"), 7U);
  for (const char* const key : {"before", "after", "many:1", "many:2", "added", "computed"}) {
    EXPECT_FALSE(is_stored(key)) << key;
  }
  EXPECT_EQ(store().get("other"), "v");
  EXPECT_EQ(store().get("plain"), "v");
  EXPECT_EQ(store().erase_tag("posts"), 0U);
  EXPECT_EQ(store().erase_tag("user:7"), 0U) << "its entry went with the other tag";
  EXPECT_EQ(store().erase_tag("never used"), 0U);
  store().set("after", "again", {.tags = {"posts"}});
  EXPECT_EQ(store().erase_tags({"posts", "user:8", "none"}), 2U);
  store().drop_tag_index();
  store().set("after", "again", {.tags = {"posts"}});
  EXPECT_EQ(store().erase_tag("posts"), std::nullopt);
  EXPECT_TRUE(is_stored("after"));
  EXPECT_FALSE(store().get("after"));
}

TEST_P(BackendConformance, AnEntryThatNoLongerCarriesATagIsNotRemovedWithIt) {
  if (!quirks().has_tag_index) return;
  store().create_tag_index();
  const auto is_safe = [&](const char* key, const char* value) {
    EXPECT_EQ(store().get(key), value) << key;
    EXPECT_EQ(store().erase_tag("posts"), 0U) << key;
    EXPECT_EQ(store().get(key), value) << key;
  };
  const WriteOptions tagged{.timeout = 1h, .tags = {"posts"}};
  store().set("set", "v", tagged);
  store().set("set", "w");
  is_safe("set", "w");
  store().set("large", std::string(5000, 'v'), tagged);
  store().set("large", "w");
  is_safe("large", "w");
  store().set("other tag", "v", tagged);
  store().set("other tag", "w", {.tags = {"users"}});
  is_safe("other tag", "w");
  store().set("many", "v", tagged);
  store().set_many({{"many", "w"}});
  is_safe("many", "w");
  store().set("erased", "v", tagged);
  store().erase("erased");
  store().set("erased", "w");
  is_safe("erased", "w");
  store().set("popped", "v", tagged);
  EXPECT_EQ(store().pop("popped"), "v");
  store().set("popped", "w");
  is_safe("popped", "w");
  store().set("cleared", "v", tagged);
  store().clear();
  store().set("cleared", "w");
  is_safe("cleared", "w");
  store().set("touched", "v", tagged);
  store().touch("touched", 2h);
  EXPECT_EQ(store().erase_tag("posts"), 1U) << "it still carries the tag";
  store().set("expired", "v", {.timeout = short_life(), .tags = {"posts"}});
  outlive();
  EXPECT_EQ(store().erase_tag("posts"), 0U) << "it was not live";
  store().set("expired", "v", {.timeout = short_life(), .tags = {"posts"}});
  outlive();
  store().set("expired", "w");
  is_safe("expired", "w");
}

TEST_P(BackendConformance, TheIndexOfTagsKeepsPrefixesApart) {
  if (!quirks().has_tag_index) return;
  Config config = config_;
  config.caches["other"] = config.caches["store"];
  config.caches["other"].key_prefix = "another";
  registry().reconfigure(config);
  Cache& mine = registry()["store"];
  Cache& other = registry()["other"];
  const auto again = registry().open("store");
  mine.create_tag_index();
  other.create_tag_index();  // it may be another store
  mine.set("k", "v", {.tags = {"posts"}});
  other.set("k", "v", {.tags = {"posts"}});
  again->set("again", "v", {.version = 9, .tags = {"posts"}});
  EXPECT_EQ(mine.erase_tag("posts"), 2U);
  EXPECT_EQ(other.get("k"), "v");
  EXPECT_EQ(other.erase_tag("posts"), 1U);
}

TEST_P(BackendConformance, TheIndexOfTagsHasThousandsOfEntries) {
  if (!quirks().has_tag_index) return;
  std::map<std::string, int> items;
  for (int i = 0; i < 2500; ++i) items["many:" + std::to_string(i)] = i;
  ASSERT_TRUE(store().set_many(items, {.tags = {"before"}}).empty());
  store().create_tag_index();
  std::map<std::string, int> more;
  for (int i = 0; i < 2500; ++i) more["more:" + std::to_string(i)] = i;
  ASSERT_TRUE(store().set_many(more, {.tags = {"after", "all"}}).empty());
  store().set("plain", 1);
  EXPECT_EQ(store().erase_tag("before"), items.size());
  EXPECT_EQ(store().erase_tag("after"), more.size());
  EXPECT_EQ(store().erase_tag("all"), 0U);
  EXPECT_TRUE(store().contains("plain"));
}

// The index changes nothing that a program reads; with a complete one, the counts are exact.
TEST_P(BackendConformance, BehavesLikeAMapWithTagsAndAnIndexThatIsSwitched) {
  if (!quirks().has_tag_index) return;
  constexpr int steps = 1500;
  std::mt19937 random{20261130};
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  const auto tag = [&] { return "t" + std::to_string(below(5)); };
  struct Entry {
    std::string value;
    std::map<std::string, int> tags;
  };
  std::map<std::string, Entry> model;
  std::map<std::string, int> erased;  // how often a tag was
  const auto live = [&](const std::string& key) -> std::optional<std::string> {
    const auto found = model.find(key);
    if (found == model.end()) return std::nullopt;
    for (const auto& [name, times] : found->second.tags) {
      if (erased[name] != times) return std::nullopt;
    }
    return found->second.value;
  };
  bool on = false;
  for (int step = 0; step < steps; ++step) {
    const std::string key = "key" + std::to_string(below(12));
    const std::string value =
        "v" + std::to_string(step) + std::string(below(4) == 0 ? 2000 : 0, '.');
    std::vector<std::string> tags;
    for (std::uint32_t n = below(4); n > 0; --n) tags.push_back(tag());
    std::map<std::string, int> with;
    for (const std::string& name : tags) with[name] = erased[name];
    SCOPED_TRACE("step " + std::to_string(step) + " on " + key);
    switch (below(10)) {
      case 0:
      case 1:
        ASSERT_TRUE(store().set(key, value, {.tags = tags}));
        model[key] = {value, with};
        break;
      case 2:
        ASSERT_EQ(store().add(key, value, {.tags = tags}), !live(key));
        if (!live(key)) model[key] = {value, with};
        break;
      case 3:
      case 4: {
        const std::string name = tag();
        std::size_t carry = 0;  // it and are live
        std::size_t most = 0;   // carry it
        for (const auto& [k, entry] : model) {
          const auto its = entry.tags.find(name);
          if (its == entry.tags.end() || its->second != erased[name]) continue;
          ++most;
          if (live(k)) ++carry;
        }
        const std::optional<std::size_t> removed = store().erase_tag(name);
        ASSERT_EQ(removed.has_value(), on);
        if (on) {
          ASSERT_GE(*removed, carry);
          ASSERT_LE(*removed, most);
        }
        ++erased[name];
        break;
      }
      case 5:
        ASSERT_EQ(store().pop(key), live(key));
        model.erase(key);
        break;
      case 6:
        if (below(10) == 0) {
          ASSERT_EQ(on ? store().drop_tag_index() : store().create_tag_index(), true);
          on = !on;
        }
        break;
      case 7: {
        ASSERT_TRUE(store().set_many({{key, value}}, {.tags = tags}).empty());
        model[key] = {value, with};
        break;
      }
      default:
        ASSERT_EQ(store().get(key), live(key));
    }
  }
}

TEST_P(BackendConformance, ThreadsUseTheIndexOfTagsWhileItIsSwitched) {
  if (!quirks().has_tag_index) return;
  constexpr int threads = 4;
  constexpr int steps = 300;
  std::atomic<int> outdated{0};
  std::atomic<int> lost{0};
  on_threads(threads, [&](int thread) {
    std::mt19937 random{static_cast<std::uint32_t>(thread)};
    const std::string mine = "mine:" + std::to_string(thread);
    for (int step = 0; step < steps; ++step) {
      const std::string tag = "t" + std::to_string(random() % 3);
      const std::string key = "key" + std::to_string(random() % 8);
      switch (random() % 8) {
        case 0:
          store().erase_tag(tag);
          break;
        case 1:
          if (thread == 0 && step % 4 == 0) {
            store().create_tag_index();
          } else if (thread == 0) {
            store().drop_tag_index();
          }
          break;
        case 2:
          // Nobody else uses this key and tag.
          store().set(mine, step, {.tags = {mine, tag}});
          store().set(mine, step, {.tags = {mine}});
          store().erase_tag(tag);
          if (store().get<int>(mine) != step) ++lost;
          store().erase_tag(mine);
          if (store().get<int>(mine)) ++outdated;
          break;
        case 3:
          store().set(key, std::string(random() % 3000, 'v'));
          break;
        default:
          store().set(key, step, {.tags = {tag}});
      }
    }
  });
  EXPECT_EQ(outdated, 0);
  EXPECT_EQ(lost, 0);
}

// --- A store that keeps nothing ---

TEST_P(KeepsNothingConformance, ItsIndexOfTagsIsEmpty) {
  if (!quirks().has_tag_index) return;
  store().create_tag_index();
  store().set("k", "v", {.tags = {"posts"}});
  EXPECT_EQ(store().erase_tag("posts"), 0U);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
