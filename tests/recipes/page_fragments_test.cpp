// Parts of pages with keys of their own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "polycache/page_cache.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"

namespace polycache {
namespace {

using ::testing::SizeIs;
using namespace std::chrono_literals;

class Fragments : public ::testing::Test {
 protected:
  Cache& cache() { return registry_["default"]; }
  PageCache pages(PageCacheOptions options = {}) {
    options.registry = &registry_;
    return PageCache(options);
  }
  PageAnswer next() { return {.body = "body " + std::to_string(++calls_)}; }

  testing::ManualClock clock_;
  CacheRegistry registry_{{.caches = {{"default", {.backend = "memory", .timeout = 1000s}}}},
                          {.clock = &clock_, .linked_plugins = {&testing::memory_store}}};
  int calls_ = 0;
};

TEST_F(Fragments, AFragmentIsComputedOnceForItsParts) {
  const PageCache all = pages({.timeout = 10s});
  const auto side = [&](int user, const std::string& language) {
    return all.fragment({"sidebar", user, language}, [&] { return next().body; });
  };
  EXPECT_EQ(side(1, "en"), "body 1");
  EXPECT_EQ(side(1, "en"), "body 1");
  EXPECT_EQ(side(1, "fr"), "body 2");
  EXPECT_EQ(side(2, "en"), "body 3");
  EXPECT_EQ(all.fragment("sidebar", [&] { return next().body; }), "body 4");
  EXPECT_TRUE(all.erase_fragment({"sidebar", 1, "en"}));
  EXPECT_FALSE(all.erase_fragment({"sidebar", 1, "en"}));
  EXPECT_EQ(side(1, "en"), "body 5");
  clock_.advance(10s);
  EXPECT_EQ(side(1, "en"), "body 6");
  EXPECT_EQ(pages({.version = 2}).fragment("sidebar", [] { return "new"; }), "new");
}

TEST_F(Fragments, FragmentsOfDifferentPartsHaveDifferentKeys) {
  const PageCache all = pages();
  const std::vector<FragmentKey> fragments{
      {"a:b"},     {"a", "b"},     {"a", "b:"}, {"a:", "b"},   {"a%3Ab"}, {"a", ":b"},
      {"", "a:b"}, {"a", "", "b"}, {"a", 1, 2}, {"a 1\n", 12}, {"a", 12}, {"a", true, 2.5}};
  std::set<std::string> keys;
  for (const FragmentKey& fragment : fragments) {
    keys.insert(all.fragment_key(fragment));
    EXPECT_LE(all.fragment_key(fragment).size(), 100U);
  }
  EXPECT_THAT(keys, SizeIs(fragments.size()));
  EXPECT_EQ(FragmentKey("sidebar", 42, "a b").text(), "sidebar:42:a%20b");
  EXPECT_EQ(all.fragment_key({"a", 12}), all.fragment_key({"a", "12"}));
}

TEST_F(Fragments, AFragmentTakesWhatGetOrSetTakes) {
  const PageCache all = pages();
  const auto none = all.fragment("none", []() -> std::optional<std::string> { return {}; });
  EXPECT_FALSE(none.has_value());
  const auto tagged = [&] {
    return all.fragment("tagged", [&](Load& load) {
      load.tag("posts");
      return next().body;
    });
  };
  EXPECT_EQ(tagged(), "body 1");
  cache().erase_tag("posts");
  EXPECT_EQ(tagged(), "body 2");
  const auto owned = in_background([] { return std::string("owned"); });
  EXPECT_EQ(all.fragment("owned", owned, {.timeout = 1h, .refresh_after = 0.5}), "owned");
}

TEST_F(Fragments, APageThatRecordsTagsGoesWithItsFragments) {
  const PageCache all = pages({.record_tags = true});
  const auto ask = [&] {
    return all
        .answer({.host = "example.org"},
                [&]() -> PageAnswer {
                  return {.body = all.fragment("posts", [&] { return next().body; },
                                               {.tags = {"posts"}})};
                })
        .body;
  };
  EXPECT_EQ(ask(), "body 1");
  EXPECT_EQ(ask(), "body 1");
  cache().erase_tag("posts");
  EXPECT_EQ(ask(), "body 2");
}

}  // namespace
}  // namespace polycache
