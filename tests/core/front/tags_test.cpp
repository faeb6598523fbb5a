// What the conformance suite does not ask about tags: aliases with other prefixes, key functions,
// policies for failures, threads that wait for the value of another one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "support/message_of.h"

namespace polycache {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

CacheConfig alias_on_locmem(std::string prefix) {
  return {.backend = "locmem", .location = {"tags"}, .key_prefix = std::move(prefix)};
}

Environment linked() { return {.linked_plugins = {&locmem::plugin, &testing::chaos_layer}}; }

TEST(Tags, AreSortedAndEachThereOnce) {
  EXPECT_EQ(Tags({"b", "a", "b"}).names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(Tags("a").names(), std::vector<std::string>{"a"});
  EXPECT_TRUE(Tags().empty());
  EXPECT_TRUE(Tags(std::vector<std::string>()).empty());
  EXPECT_TRUE(TagSnapshot().empty());
}

TEST(Tags, APrefixThatCouldCollideWithTheirKeysIsAConfigError) {
  const Config config{.caches = {{"default", alias_on_locmem("shop:~t")}}};
  EXPECT_THAT(message_of<ConfigError>([&] { CacheRegistry registry(config, linked()); }),
              HasSubstr("caches.default.key_prefix"));
}

TEST(Tags, AKeyFunctionCannotMakeTheirKeys) {
  register_key_function("tags_test_bare", [](std::string& out, std::string_view key,
                                             std::string_view, int) { out.append(key); });
  Config config{.caches = {{"default", alias_on_locmem("shop")}}};
  config.caches["default"].key_function = "tags_test_bare";
  CacheRegistry registry(config, linked());
  EXPECT_THAT(message_of<InvalidKey>([&] { registry["default"].get("shop:~t:posts"); }),
              HasSubstr("reserved"));
  EXPECT_TRUE(registry["default"].set("posts", 1, {.tags = "posts"}));
  EXPECT_EQ(registry["default"].get<int>("posts"), 1);
}

TEST(Tags, AreCheckedByAWriteThatMeansErase) {
  CacheRegistry registry({.caches = {{"default", alias_on_locmem("erase")}}}, linked());
  Cache& cache = registry["default"];
  constexpr std::chrono::seconds none{0};
  cache.set("k", 1);
  EXPECT_THROW(cache.set("k", 2, {.timeout = none, .tags = {""}}), ValueError);
  EXPECT_THROW(cache.add("new", 2, {.timeout = none, .tags = {""}}), ValueError);
  EXPECT_EQ(cache.get<int>("k"), 1);
}

TEST(Tags, BelongToAPrefix) {
  const Config config{
      .caches = {{"one", alias_on_locmem("one")}, {"other", alias_on_locmem("other")}}};
  CacheRegistry registry(config, linked());
  Cache& one = registry["one"];
  Cache& other = registry["other"];
  one.set("k", 1, {.tags = "posts"});
  other.set("k", 2, {.tags = "posts"});
  one.erase_tag("posts");
  EXPECT_FALSE(one.contains("k"));
  EXPECT_EQ(other.get<int>("k"), 2);
  const TagSnapshot snapshot = one.tags("posts");
  EXPECT_THAT(message_of<ValueError>([&] { other.set("k", 3, {.tags = snapshot}); }),
              HasSubstr("another prefix"));

  const TagRecorder recorder;
  one.set("k", 1, {.tags = "mine"});
  one.get("k");
  other.get("k");
  EXPECT_EQ(recorder.names(), (std::vector<std::string>{"mine", "posts"}));
  EXPECT_EQ(one.tags(recorder).names(), std::vector<std::string>{"mine"});
  EXPECT_EQ(other.tags(recorder).names(), std::vector<std::string>{"posts"});
}

// An entry is decoded before its tags are known to be current.
TEST(Tags, NothingIsSaidOfAnUndecodableEntryWhoseTagWasErased) {
  std::vector<std::string> warnings;
  const Config config{.caches = {{"default", alias_on_locmem("undecodable")}}};
  Environment environment = linked();
  environment.on_warning = [&](const Warning& warning) { warnings.emplace_back(warning.message); };
  CacheRegistry registry(config, environment);
  Cache& cache = registry["default"];
  cache.set("k", "no number", {.tags = "posts"});
  EXPECT_EQ(cache.get<int>("k"), std::nullopt);
  EXPECT_EQ(warnings.size(), 1U);
  cache.erase_tag("posts");
  EXPECT_EQ(cache.get<int>("k"), std::nullopt);
  EXPECT_EQ(cache.get_many<int>({"k"}), (std::vector<std::optional<int>>{std::nullopt}));
  EXPECT_EQ(cache.get_or_set("k", 3), 3);
  EXPECT_EQ(warnings.size(), 1U) << warnings.back();
}

TEST(Tags, AnEntryMayCarryMoreTagsThanAReadKeepsOnTheStack) {
  const Config config{.caches = {{"default", alias_on_locmem("many")}}};
  CacheRegistry registry(config, linked());
  Cache& cache = registry["default"];
  std::vector<std::string> tags;
  for (int i = 0; i < 64; ++i) tags.push_back("a tag with a long name " + std::to_string(i));
  cache.set("k", "value", {.tags = tags});
  EXPECT_EQ(cache.get("k"), "value");
  EXPECT_EQ(cache.get_or_set("k", "other", {.tags = tags}), "value");
  EXPECT_EQ(cache.get_entry("k").tags.size(), 64U);
  EXPECT_EQ(cache.get_many({"k"}).front(), "value");
  cache.erase_tag(tags.back());
  EXPECT_EQ(cache.get("k"), std::nullopt);
  EXPECT_EQ(cache.get_many({"k"}).front(), std::nullopt);
}

TEST(Tags, ARecorderHasWhatWasReadByItsThreadWhileItLived) {
  CacheRegistry registry(Config{.caches = {{"default", alias_on_locmem("r")}}}, linked());
  Cache& cache = registry["default"];
  cache.set("before", 1, {.tags = "before"});
  cache.set("k", 1, {.tags = "k"});
  cache.set("inner", 1, {.tags = "inner"});
  cache.set("elsewhere", 1, {.tags = "elsewhere"});
  cache.get("before");
  const TagRecorder outer;
  {
    const TagRecorder inner;
    cache.get("inner");
    EXPECT_EQ(inner.names(), std::vector<std::string>{"inner"});
  }
  std::thread([&] { registry["default"].get("elsewhere"); }).join();
  cache.get("k");
  EXPECT_EQ(outer.names(), (std::vector<std::string>{"inner", "k"}));
}

// The versions cannot be read or made: nothing is stored that could be found with old tags.
TEST(Tags, AFailingStoreIsAMissAndAWriteThatWasNotDone) {
  Config config{.caches = {{"default", alias_on_locmem("f")}}};
  CacheRegistry healthy(config, linked());
  ASSERT_TRUE(healthy["default"].set("k", 1, {.tags = "posts"}));
  config.caches["default"].layers = {{.name = "chaos", .options = {{"fail", 1.0}}}};
  CacheRegistry failing(config, linked());
  Cache& cache = failing["default"];
  EXPECT_FALSE(cache.get("k"));
  EXPECT_FALSE(cache.set("k", 2, {.tags = "posts"}));
  EXPECT_EQ(cache.set_many({{"a", 1}}, {.tags = "posts"}), std::vector<std::string>{"a"});
  EXPECT_EQ(cache.get_or_set("k", [] { return 3; }, {.tags = "posts"}), 3);
  EXPECT_THROW(cache.erase_tag("posts"), BackendError);
  const TagSnapshot snapshot = cache.tags("posts");
  EXPECT_TRUE(healthy["default"].set("k", 4, {.tags = snapshot}));
  EXPECT_FALSE(healthy["default"].get("k")) << "its versions were never read";
}

TEST(Tags, AThreadThatWaitsForAValueRecordsItsTags) {
  CacheRegistry registry(Config{.caches = {{"default", alias_on_locmem("w")}}}, linked());
  std::atomic<bool> computing{false};
  const auto ask = [&] {
    return registry["default"].get_or_set("k",
                                          [&] {
                                            computing = true;
                                            while (registry["default"].statistics().waits == 0)
                                              std::this_thread::yield();
                                            return 1;
                                          },
                                          {.tags = "posts"});
  };
  std::thread owner([&] { EXPECT_EQ(ask(), 1); });
  while (!computing) std::this_thread::yield();
  const TagRecorder recorder;
  EXPECT_EQ(ask(), 1);
  EXPECT_EQ(recorder.names(), std::vector<std::string>{"posts"});
  owner.join();
}

}  // namespace
// Short names are held in place, others are shared.
TEST(TagNames, AreSortedAndEachOnceHoweverLongTheyAre) {
  const std::vector<std::vector<std::string>> lists{
      {},
      {""},
      {"", "a"},
      {"posts"},
      {"posts", "user:7"},
      {std::string(46, 'x')},
      {std::string(47, 'x')},
      {std::string(20, 'a'), std::string(25, 'b')},
      {std::string(20, 'a'), std::string(26, 'b')},
      {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"},
      {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m",
       "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y"}};
  for (const std::vector<std::string>& names : lists) {
    std::vector<std::string> given(names.rbegin(), names.rend());
    given.insert(given.end(), names.begin(), names.end());
    const Tags tags(given);
    EXPECT_EQ(tags.names(), names);
    EXPECT_EQ(tags.empty(), names.empty());
    Tags copy{"other"};
    copy = tags;
    EXPECT_EQ(Tags(copy).names(), names);
    EXPECT_EQ(Tags(std::move(copy)).names(), names);
  }
  EXPECT_EQ((Tags{"b", "a", "b"}.names()), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(Tags("one").names(), (std::vector<std::string>{"one"}));
}

}  // namespace polycache
