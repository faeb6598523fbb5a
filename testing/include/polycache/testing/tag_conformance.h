// The part of the conformance suite about tags (polycache/tags.h). backend_conformance.h includes
// it.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, EraseTagRemovesEveryEntryWithThatTag) {
  for (const char* const tag : {"posts", "user:7"}) {
    store().set("k", "value", {.tags = {"posts", "user:7"}});
    store().set("other", "stays", {.tags = {"authors"}});
    store().set("plain", "stays");
    EXPECT_EQ(store().get("k"), "value");
    EXPECT_EQ(store().erase_tag(tag), std::nullopt) << "there is no index of tags";
    EXPECT_FALSE(store().get("k")) << tag;
    EXPECT_EQ(store().get("other"), "stays");
    EXPECT_EQ(store().get("plain"), "stays");
    store().set("k", "again", {.tags = {"posts", "user:7"}});
    EXPECT_EQ(store().get("k"), "again");
  }
  store().erase_tags({"posts", "authors", "not used"});
  EXPECT_FALSE(store().get("k"));
  EXPECT_FALSE(store().get("other"));
  EXPECT_EQ(store().get("plain"), "stays");
}

TEST_P(BackendConformance, AnEntryWhoseTagWasErasedIsAbsentForEveryOperation) {
  const auto store_it = [&] {
    ASSERT_TRUE(store().set("k", "value", {.timeout = 1h, .tags = {"posts"}}));
    ASSERT_TRUE(store().contains("k"));
    store().erase_tag("posts");
  };
  store_it();
  EXPECT_FALSE(store().get("k"));
  EXPECT_FALSE(store().get_many({"k"})[0]);
  EXPECT_TRUE(store().get_many_map({"k"}).empty());
  EXPECT_FALSE(store().visit("k", [](std::string_view) { ADD_FAILURE() << "was shown"; }));
  EXPECT_FALSE(store().contains("k"));
  EXPECT_FALSE(store().touch("k", 1h));
  EXPECT_THROW(store().incr_version("k"), KeyNotFound);
  EXPECT_TRUE(store().add("k", 1, 0s)) << "there is no live entry";
  EXPECT_TRUE(store().erase("k")) << "the store had an entry";
  store_it();
  EXPECT_FALSE(store().pop("k"));
  EXPECT_FALSE(store().erase("k")) << "pop removed it";
  store_it();
  EXPECT_TRUE(store().add("k", "added"));
  EXPECT_EQ(store().get("k"), "added");
  store_it();
  EXPECT_EQ(store().get_or_set("k", [] { return std::string("computed"); }), "computed");
  EXPECT_EQ(store().get("k"), "computed");
  if (quirks().has_counters) {
    store_it();
    EXPECT_THROW(store().incr("k"), KeyNotFound);
    EXPECT_EQ(store().incr("k", 2, {.initial = 40}), 42);
  }
}

TEST_P(BackendConformance, AnEntryWithTagsIsLiveForEveryOperation) {
  const WriteOptions tagged{.timeout = 1h, .tags = {"posts"}};
  store().set("k", "value", tagged);
  EXPECT_EQ(store().get("k"), "value");
  EXPECT_EQ(store().get_many({"k", "absent"})[0], "value");
  std::string seen;
  EXPECT_TRUE(store().visit("k", [&](std::string_view bytes) { seen = bytes; }));
  EXPECT_EQ(seen, "value");
  EXPECT_TRUE(store().contains("k"));
  EXPECT_TRUE(store().touch("k", 2h));
  EXPECT_FALSE(store().add("k", "other"));
  EXPECT_EQ(store().get_or_set("k", [] { return std::string("computed"); }), "value");
  EXPECT_EQ(store().get_or_set("k", [] { return std::string("computed"); }, {.tags = {"posts"}}),
            "value");
  EXPECT_EQ(store().incr_version("k"), store().version() + 1);
  EXPECT_EQ(store().get("k", {.version = store().version() + 1}), "value");
  EXPECT_EQ(store().pop("k", {.version = store().version() + 1}), "value");
  if (quirks().has_counters) {
    store().set("n", 1, tagged);
    EXPECT_THROW(store().incr("n"), ValueError);
    EXPECT_EQ(store().get<int>("n"), 1);
  }
}

TEST_P(BackendConformance, EraseTagRemovesAllVersionsOfAKey) {
  store().set("k", "moved", {.version = 5, .tags = {"posts"}});
  store().erase_tag("posts");
  EXPECT_FALSE(store().get("k", {.version = 5}));
}

TEST_P(BackendConformance, BulkOperationsCarryAndCheckTags) {
  EXPECT_TRUE(store().set_many({{"a", "1"}, {"b", "2"}, {"c", "3"}}, {.tags = {"x", "y"}}).empty());
  store().set("d", "4", {.tags = {"z"}});
  store().set("e", "5");
  using Values = std::vector<std::optional<std::string>>;
  EXPECT_EQ(store().get_many({"a", "b", "d", "e", "none"}),
            (Values{"1", "2", "4", "5", std::nullopt}));
  store().erase_tag("y");
  EXPECT_EQ(store().get_many({"a", "b", "c", "d", "e"}),
            (Values{std::nullopt, std::nullopt, std::nullopt, "4", "5"}));
  store().erase_tag("z");
  EXPECT_EQ(store().get_many({"d", "e", "d"}), (Values{std::nullopt, "5", std::nullopt}));
}

TEST_P(BackendConformance, EraseTagDuringAComputationWins) {
  const TagSnapshot before = store().tags({"posts"});
  EXPECT_EQ(before.names(), std::vector<std::string>{"posts"});
  store().set("a", "in time", {.tags = before});
  EXPECT_EQ(store().get("a"), "in time");
  store().erase_tag("posts");
  EXPECT_TRUE(store().set("b", "outdated", {.tags = before}));
  EXPECT_FALSE(store().get("b"));
  EXPECT_EQ(store().get_or_set("c",
                               [&] {
                                 store().erase_tag("posts");
                                 return std::string("outdated");
                               },
                               {.tags = {"posts"}}),
            "outdated");
  EXPECT_FALSE(store().get("c"));
  EXPECT_EQ(store().get_or_set("c", [&] { return std::string("new"); }, {.tags = {"posts"}}),
            "new");
  EXPECT_EQ(store().get("c"), "new");
}

TEST_P(BackendConformance, GetOrSetWithTagsComputesAgainOnceATagIsErased) {
  int computed = 0;
  const auto ask = [&] {
    return store().get_or_set("k", [&] { return ++computed; }, {.tags = {"posts", "user:7"}});
  };
  EXPECT_EQ(ask(), 1);
  EXPECT_EQ(ask(), 1);
  store().erase_tag("user:7");
  EXPECT_EQ(ask(), 2);
  EXPECT_EQ(ask(), 2);
}

// An evicted version, one that another program overwrote, a flushed server.
TEST_P(BackendConformance, ALostVersionCountsAsErased) {
  store().set("k", "value", {.tags = {"posts"}});
  EXPECT_TRUE(loses_version("posts"));
  EXPECT_FALSE(store().get("k"));
  store().set("k", "value", {.tags = {"posts"}});
  EXPECT_EQ(store().get("k"), "value");
  store().backend().put(tag_key("posts"), "no version", Ttl(1min), PutMode::always);
  EXPECT_FALSE(store().get("k"));
  store().set("k", "value", {.tags = {"posts"}});
  EXPECT_EQ(store().get("k"), "value") << "a write makes a new version";
}

TEST_P(BackendConformance, AVersionOutlivesTheEntriesThatCarryIt) {
  if (!quirks().has_ttl) {
    store().set("k", "value", {.timeout = never, .tags = {"posts"}});
    EXPECT_EQ(store().get("k"), "value");
    return;
  }
  const auto lives_longer_than = [&](std::chrono::milliseconds time) {
    const std::optional<Ttl> life = life_of_version("posts");
    return life && (life->is_forever() || life->value() > time);
  };
  store().set("short", "v", {.timeout = 10s, .tags = {"posts"}});
  EXPECT_TRUE(lives_longer_than(60s));
  EXPECT_FALSE(lives_longer_than(10min)) << "else nothing is left to lengthen";
  store().set("longer", "v", {.timeout = 1h, .tags = {"posts"}});
  EXPECT_TRUE(lives_longer_than(1h));
  store().set("short", "v", {.timeout = 10s, .tags = {"posts"}});
  EXPECT_TRUE(lives_longer_than(1h)) << "a short entry does not shorten it";
  store().touch("longer", 9h);
  EXPECT_TRUE(lives_longer_than(9h));
  const TagSnapshot before = store().tags({"posts"});
  store().set("snapshot", "v", {.timeout = 100h, .tags = before});
  EXPECT_TRUE(lives_longer_than(100h));
  store().set("forever", "v", {.timeout = never, .tags = {"posts"}});
  EXPECT_TRUE(life_of_version("posts") && life_of_version("posts")->is_forever());
  EXPECT_EQ(store().get("longer"), "v");
}

TEST_P(BackendConformance, NamesOfTagsAreAnyBytes) {
  const std::vector<std::string> names{"a b",
                                       "a:b",
                                       "a%3Ab",
                                       std::string("\0\n\x7F", 3),
                                       "\xC3\xA4",
                                       std::string(300, 'n'),
                                       std::string(300, 'n') + "m",
                                       std::string(1024, ':')};
  for (std::size_t i = 0; i < names.size(); ++i) {
    store().set(key("tagged", i), names[i], {.tags = names[i]});
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(store().get(key("tagged", i)), names[i]);
    store().erase_tag(names[i]);
    EXPECT_FALSE(store().get(key("tagged", i)));
  }
}

TEST_P(BackendConformance, TagsThatNoEntryCanHaveAreRefused) {
  EXPECT_THROW(store().set("k", 1, {.tags = ""}), ValueError);
  EXPECT_THROW(store().set("k", 1, {.tags = std::string(1025, 't')}), ValueError);
  EXPECT_THROW(store().erase_tag(""), ValueError);
  EXPECT_THROW(store().tags({"a", ""}), ValueError);
  std::vector<std::string> many;
  for (int i = 0; i < 65; ++i) many.push_back(std::to_string(i));
  EXPECT_THROW(store().set_many({{"k", 1}}, {.tags = many}), ValueError);
  EXPECT_THROW(store().get_or_set("k", [] { return 1; }, {.tags = many}), ValueError);
  EXPECT_FALSE(store().contains("k"));
  many.back() = "0";
  EXPECT_TRUE(store().set("k", 1, {.tags = many})) << "64 different ones";
  EXPECT_EQ(store().get<int>("k"), 1);
}

TEST_P(BackendConformance, ARecorderCollectsTheTagsOfWhatIsRead) {
  store().set("user", "u", {.tags = {"user:7"}});
  store().set("post", "p", {.tags = {"posts", "post:1"}});
  store().set("plain", "v");
  const auto render = [&] {
    store().get("plain");
    return *store().get("user") + *store().get_many({"post"})[0];
  };
  {
    const TagRecorder recorder;
    const std::string page = render();
    const TagSnapshot tags = store().tags(recorder);
    EXPECT_EQ(tags.names(), (std::vector<std::string>{"post:1", "posts", "user:7"}));
    EXPECT_EQ(recorder.names(), tags.names());
    store().set("page", page, {.tags = tags});
  }
  EXPECT_EQ(store().get("page"), "up");
  store().erase_tag("post:1");
  EXPECT_FALSE(store().get("page"));
}

TEST_P(BackendConformance, AnOuterEntryFallsWithTheInnerOnes) {
  int inner = 0;
  int outer = 0;
  const auto page = [&] {
    return store().get_or_set("page",
                              [&] {
                                ++outer;
                                const std::string user = store().get_or_set(
                                    "user", [&] { return "u" + std::to_string(++inner); },
                                    {.tags = {"user:7"}});
                                return user + "-" + std::to_string(outer);
                              },
                              {.tags = {"pages"}, .record_tags = true});
  };
  EXPECT_EQ(page(), "u1-1");
  EXPECT_EQ(page(), "u1-1");
  store().erase_tag("user:7");
  EXPECT_EQ(page(), "u2-2");
  store().erase("page");
  EXPECT_EQ(page(), "u2-3") << "the inner entry is read, and its tags are recorded";
  store().erase_tag("user:7");
  EXPECT_EQ(page(), "u3-4");
  store().erase_tag("pages");
  EXPECT_EQ(page(), "u3-5");
}

TEST_P(BackendConformance, BehavesLikeAMapWithTags) {
  constexpr int steps = 1500;
  std::mt19937 random{20261129};
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
  for (int step = 0; step < steps; ++step) {
    const std::string key = "key" + std::to_string(below(10));
    const std::string value = "v" + std::to_string(step);
    std::vector<std::string> tags;
    for (std::uint32_t n = below(4); n > 0; --n) tags.push_back(tag());
    std::map<std::string, int> with;
    for (const std::string& name : tags) with[name] = erased[name];
    SCOPED_TRACE("step " + std::to_string(step) + " on " + key);
    switch (below(9)) {
      case 0:
        ASSERT_TRUE(store().set(key, value, {.tags = tags}));
        model[key] = {value, with};
        break;
      case 1:
        ASSERT_EQ(store().add(key, value, {.tags = tags}), !live(key));
        if (!live(key)) model[key] = {value, with};
        break;
      case 2: {
        const std::string name = tag();
        store().erase_tag(name);
        ++erased[name];
        break;
      }
      case 3: {
        const std::string name = tag();
        if (loses_version(name)) ++erased[name];
        break;
      }
      case 4:
        ASSERT_EQ(store().contains(key), live(key).has_value());
        ASSERT_EQ(store().touch(key, 1h), live(key).has_value());
        break;
      case 5: {
        std::vector<std::string> keys;
        for (int i = 0; i < 10; ++i) keys.push_back("key" + std::to_string(i));
        const auto values = store().get_many(keys);
        for (std::size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(values[i], live(keys[i]));
        break;
      }
      case 6: {
        const std::optional<std::string> there = live(key);
        ASSERT_EQ(store().get_or_set(key, [&] { return value; }, {.tags = tags}),
                  there.value_or(value));
        if (!there) model[key] = {value, with};
        break;
      }
      case 7:
        ASSERT_EQ(store().pop(key), live(key));
        model.erase(key);
        break;
      default:
        ASSERT_EQ(store().get(key), live(key));
    }
  }
}

// Of the values here, each says how often its tag had been erased when its versions had been read,
// or a little later. A reader that finds a smaller number than were erased before it began has got
// a value that must be gone.
TEST_P(BackendConformance, NoReadGivesAValueWhoseTagWasErasedBeforeTheReadBegan) {
  const char* const wished = std::getenv("POLYCACHE_TAG_STEPS");
  const int steps = wished != nullptr ? std::atoi(wished) : 5000;
  if (wished != nullptr) Watchdog::start(std::chrono::milliseconds(0));  // it may take long
  constexpr int threads = 4;
  constexpr std::size_t tags = 3;
  std::array<std::atomic<int>, tags> begun{};
  std::array<std::atomic<int>, tags> done{};
  std::atomic<int> hits{0};
  std::atomic<int> outdated{0};
  on_threads(threads, [&](int thread) {
    std::mt19937 random{static_cast<std::uint32_t>(thread)};
    for (int step = 0; step < steps / threads; ++step) {
      const std::size_t t = random() % tags;
      const std::string tag = "t" + std::to_string(t);
      const std::string key = tag + ":" + std::to_string(random() % 4);
      switch (random() % 8) {
        case 0: {
          const TagSnapshot before = store().tags(tag);
          const int erased = begun[t];
          store().set(key, erased, {.tags = before});
          break;
        }
        case 1:
          ++begun[t];
          store().erase_tag(tag);
          ++done[t];
          break;
        case 2:
          ++begun[t];
          loses_version(tag);
          ++done[t];
          break;
        case 3: {
          const int erased = done[t];
          const int value = store().get_or_set(key, [&] { return begun[t].load(); }, {.tags = tag});
          if (value < erased) ++outdated;
          break;
        }
        case 4: {
          const int erased = done[t];
          const auto value = store().get_many<int>({key})[0];
          if (value) ++hits;
          if (value && *value < erased) ++outdated;
          break;
        }
        default: {
          const int erased = done[t];
          const auto value = store().get<int>(key);
          if (value) ++hits;
          if (value && *value < erased) ++outdated;
        }
      }
    }
  });
  EXPECT_EQ(outdated, 0);
  EXPECT_GT(hits, 0) << "else nothing was looked at";
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
