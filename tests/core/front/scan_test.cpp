// Cache::scan() and Cache::erase_pattern() as a program sees them: which keys they give, what they
// refuse, what happens when the store fails or the configuration changes. What every store has to
// do is in the conformance suite.

#include "polycache/scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/author/plugin.h"
#include "polycache/observer.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "polycache/testing/recording_layer.h"
#include "support/hiding_layer.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using testing::Chaos;
using testing::ChaosAct;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Recording;
using ::testing::UnorderedElementsAre;

static_assert(std::ranges::input_range<ScanRange>);
static_assert(!std::ranges::forward_range<ScanRange>);
static_assert(std::movable<ScanRange> && !std::copyable<ScanRange>);

// Replaces long keys by their length, and what looks like that, too: "user:2" stays.
void shorten(std::string& out, std::string_view key, std::string_view prefix, int version) {
  out.append(prefix).append(":").append(std::to_string(version)).append(":");
  if (key.size() < 10 && !key.starts_with('#')) {
    out.append(key);
  } else {
    out.append("#").append(std::to_string(key.size()));
  }
}
constexpr PluginDescriptor short_keys =
    key_function_plugin("short_keys", "1.0", shorten, keeps_head);
constexpr PluginDescriptor plain_keys = key_function_plugin("plain_keys", "1.0", shorten);

class Recorder final : public Observer {
 public:
  void begin(const Call& call) noexcept override {
    lines.push_back("begin " + std::string(name_of(call.op)) + " " + std::string(call.key));
  }
  void end(const Call& call, const CallEnd& end) noexcept override {
    lines.push_back("end " + std::string(name_of(call.op)) + " " +
                    std::string(name_of(end.result)) + " " + std::to_string(end.hits));
  }
  std::vector<std::string> lines;
};

class Scan : public ::testing::Test {
 protected:
  Config config() const {
    Config config;
    config.caches["a"] = {.backend = "memory",
                          .key_prefix = "shop",
                          .layers = {{.name = "recording"}, {.name = "chaos"}}};
    config.caches["short"] = {.backend = "memory", .key_function = "short_keys"};
    config.caches["plain"] = {.backend = "memory", .key_function = "plain_keys"};
    config.caches["hidden"] = {.backend = "memory", .layers = {{.name = "hiding"}}};
    config.caches["scan_only"] = {
        .backend = "memory",
        .layers = {{.name = "hiding", .options = {{"shows", std::string(ScanExtension::id)}}}}};
    return config;
  }
  Environment environment() const {
    return {
        .clock = &clock_,
        .on_warning = {},
        .observer = recorder_,
        .linked_plugins = {&testing::memory_store, &testing::recording_layer, &testing::chaos_layer,
                           &short_keys, &plain_keys, &testing::hiding_layer}};
  }
  static std::vector<std::string> keys_of(Cache& cache, std::string_view pattern,
                                          ScanOptions options = {}) {
    std::vector<std::string> keys;
    for (const EntryInfo& entry : cache.scan(pattern, options)) keys.push_back(entry.key);
    return keys;
  }
  void fill(int count) {
    for (int i = 0; i < count; ++i) cache_.set("k" + std::to_string(i), i);
  }

  testing::ManualClock clock_;
  std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
  CacheRegistry registry_{config(), environment()};
  Cache& cache_ = registry_["a"];
};

std::string message_of(const std::function<void()>& operation) {
  try {
    operation();
  } catch (const CacheError& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(Scan, GivesTheUsersKeysBack) {
  cache_.set("user:1", "Ada", 5min);
  cache_.set("user:2", "Bo", never);
  cache_.set("user:3", "version 2", {.version = 2});
  cache_.set("page:1", "p");
  EXPECT_THAT(keys_of(cache_, "user:*"), UnorderedElementsAre("user:1", "user:2"));
  EXPECT_THAT(keys_of(cache_, "user:*", {.version = 2}), ElementsAre("user:3"));
  ScanRange range = cache_.scan("user:1");
  const EntryInfo entry = *range.begin();
  EXPECT_EQ(entry.key, "user:1");
  EXPECT_EQ(entry.final_key, "shop:1:user:1");
  EXPECT_EQ(entry.size, 3U);
  EXPECT_EQ(entry.left, 5min);
  ++range.begin();
  EXPECT_TRUE(range.begin() == range.end());
  EXPECT_EQ(cache_.scan("user:2").begin()->left, std::nullopt);
}

TEST_F(Scan, IsARangeThatAlgorithmsTakeAndThatMoves) {
  fill(3);
  EXPECT_EQ(
      std::ranges::count_if(cache_.scan("k*"), [](const EntryInfo& e) { return e.size == 1; }), 3);
  ScanRange first = cache_.scan("k*");
  ScanRange second = std::move(first);
  EXPECT_EQ(std::ranges::distance(second.begin(), second.end()), 3);
  second = cache_.scan("none");
  EXPECT_TRUE(second.begin() == second.end());
}

TEST_F(Scan, OfAKeyFunctionThatHashesGivesTheFinalKeyAlone) {
  Cache& cache = registry_["short"];
  cache.set("user:1", 1);
  cache.set("a long key of a user", 1);
  cache.set("#20", 1);
  std::vector<std::string> lines;
  for (const EntryInfo& entry : cache.scan("*")) lines.push_back(entry.key + "|" + entry.final_key);
  EXPECT_THAT(lines, UnorderedElementsAre("user:1|:1:user:1", "|:1:#20", "|:1:#3"));
  EXPECT_THAT(keys_of(cache, "a long*"), IsEmpty());
  EXPECT_EQ(cache.erase_pattern("*"), 3U);
}

TEST_F(Scan, RefusesAKeyFunctionThatDoesNotKeepPrefixAndVersion) {
  Cache& cache = registry_["plain"];
  EXPECT_THROW(static_cast<void>(cache.scan("*")), ConfigError);
  EXPECT_THAT(message_of([&] { cache.erase_pattern("*"); }),
              HasSubstr("plain: erase_pattern: the key function \"plain_keys\" does not begin"));
}

TEST_F(Scan, RefusesAStoreThatDoesNotListAndNamesThoseThatDo) {
  Cache& cache = registry_["hidden"];
  EXPECT_EQ(message_of([&] { static_cast<void>(cache.scan("*")); }),
            "hidden: scan: the store \"memory\" cannot list its keys, or a layer around it hides "
            "that it can; these can: dummy, locmem, memcached with the protocol \"ascii\", redis, "
            "sqlite");
  try {
    cache.erase_pattern("*");
    ADD_FAILURE() << "it erased by pattern";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::unsupported);
  }
  EXPECT_EQ(cache.statistics().errors, 0U) << "the store has not failed";
}

TEST_F(Scan, OfNoGlobIsAValueErrorBeforeTheStoreIsAsked) {
  EXPECT_THROW(static_cast<void>(cache_.scan("user:[")), ValueError);
  EXPECT_THAT(message_of([&] { cache_.erase_pattern("user:["); }),
              HasSubstr("a: erase_pattern: the pattern \"user:[\" has a bracket at byte 5"));
  EXPECT_EQ(Recording::named("", clock_)->count("scan"), 0U);
}

TEST_F(Scan, AsksTheStorePageByPage) {
  fill(1200);
  recorder_->lines.clear();
  EXPECT_EQ(keys_of(cache_, "k*").size(), 1200U);
  EXPECT_THAT(recorder_->lines,
              ElementsAre("begin scan shop:1:k*", "end scan hit 500", "begin scan shop:1:k*",
                          "end scan hit 500", "begin scan shop:1:k*", "end scan hit 200"));
  const auto recording = Recording::named("", clock_);
  EXPECT_EQ(recording->count("scan"), 3U);
  EXPECT_THAT(recording->text(), HasSubstr("a: scan shop:1:k* -> 500\n"));
  ScanRange unread = cache_.scan("k*");
  EXPECT_EQ(recording->count("scan"), 4U) << "only the first page is read at once";
}

TEST_F(Scan, ThrowsAtThePageThatFailsWhateverThePolicy) {
  fill(1200);
  Chaos::named("a", clock_)->set({.script = {{.act = ChaosAct::pass}, {.act = ChaosAct::fail}}});
  std::size_t seen = 0;
  ScanRange range = cache_.scan("k*");
  EXPECT_THROW(for (const EntryInfo& entry : range) seen += entry.size > 0 ? 1 : 0, BackendError);
  EXPECT_EQ(seen, 500U);
  EXPECT_TRUE(range.begin() == range.end()) << "it has ended";
  Chaos::named("a", clock_)->set({.fail = 1});
  EXPECT_THROW(static_cast<void>(cache_.scan("k*")), BackendError);
  EXPECT_THROW(cache_.erase_pattern("k*"), BackendError);
  Chaos::named("a", clock_)->off();
}

TEST_F(Scan, ErasePatternIsCountedAndObserved) {
  fill(30);
  recorder_->lines.clear();
  EXPECT_EQ(cache_.erase_pattern("k1?"), 10U);
  EXPECT_EQ(cache_.erase_pattern("k1?"), 0U);
  EXPECT_THAT(recorder_->lines,
              ElementsAre("begin erase_pattern shop:1:k1?", "end erase_pattern hit 10",
                          "begin erase_pattern shop:1:k1?", "end erase_pattern miss 0"));
  EXPECT_EQ(cache_.statistics().erased, 10U);
}

TEST_F(Scan, ErasePatternListsAndErasesWhereTheStoreHasNoFasterWay) {
  Cache& cache = registry_["scan_only"];
  ASSERT_EQ(cache.extension<ErasePatternExtension>(), nullptr);
  for (int i = 0; i < 1300; ++i) cache.set("k" + std::to_string(i), i);
  cache.set("other", 1);
  EXPECT_EQ(cache.erase_pattern("k*"), 1300U);
  EXPECT_THAT(keys_of(cache, "*"), ElementsAre("other"));
}

TEST_F(Scan, KeepsItsCacheOnTheConfigurationThatItBeganWith) {
  fill(600);
  Config changed = config();
  changed.caches["a"].key_prefix = "new";
  {
    ScanRange range = cache_.scan("k*");
    registry_.reconfigure(changed);
    EXPECT_EQ(&registry_["a"], &cache_);
    EXPECT_EQ(std::ranges::distance(range.begin(), range.end()), 600);
    EXPECT_EQ(cache_.final_key("k"), "shop:1:k");
  }
  EXPECT_EQ(registry_["a"].final_key("k"), "new:1:k");
  EXPECT_THAT(keys_of(registry_["a"], "*"), IsEmpty());
}

TEST_F(Scan, EntriesThatAppearAndVanishDuringAScanDoNoHarm) {
  fill(1000);
  std::size_t seen = 0;
  for (const EntryInfo& entry : cache_.scan("k*")) {
    if (++seen == 1) cache_.clear();
    EXPECT_FALSE(cache_.get(entry.key));
    cache_.set("a" + std::to_string(seen), 1);
  }
  EXPECT_EQ(seen, 500U) << "those of the page that was read before";
}

}  // namespace
}  // namespace polycache
