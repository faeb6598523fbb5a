// Tags that are confirmed by a stamp of the store (TagStampExtension): which reads of versions this
// saves, and that an erasure at any moment is noticed.

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "polycache/author/around_layer.h"
#include "polycache/author/plugin.h"
#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/memory_store.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;

// Called before (true) and after (false) each call of a session of the alias "mine".
std::function<void(const StoreCall&, bool before)> hook;

class HookLayer final : public AroundLayer {
 public:
  using AroundLayer::AroundLayer;
  StoreAnswer around(const StoreCall& call, StoreGo go) override {
    if (hook) hook(call, true);
    const StoreAnswer answer = go(call.deliver);
    if (hook) hook(call, false);
    return answer;
  }
};

class HookFactory final : public AroundLayerFactory {
 public:
  using AroundLayerFactory::AroundLayerFactory;

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<HookLayer>(std::move(session));
  }
};

constexpr PluginDescriptor hook_layer = layer_plugin(
    "hook", POLYCACHE_VERSION,
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<HookFactory>(context.inner);
    });

bool reads_version(const StoreCall& call) {
  return call.access == Access::read && call.size() > 0 &&
         call.key(call.size() - 1).find(":~t:") != std::string_view::npos;
}

bool reads_entry(const StoreCall& call, std::string_view key) {
  return call.access == Access::read && call.size() > 0 && call.key(0).ends_with(key);
}

// A store in this process, and one that could be shared by processes: the core reads versions one
// by one from the former.
class TagStamps : public ::testing::TestWithParam<const char*> {
 protected:
  ~TagStamps() override { hook = nullptr; }

  static Config config() {
    CacheConfig mine{.backend = GetParam(),
                     .location = {"tag_stamps"},
                     .timeout = 10min,
                     .layers = {{.name = "hook"}}};
    CacheConfig other = mine;
    other.layers = {};
    CacheConfig remembering = mine;
    remembering.tag_version_cache = 150ms;
    return {.caches = {{"mine", mine}, {"other", other}, {"remembering", remembering}}};
  }

  // How many calls of f() read versions.
  template <class F>
  static std::size_t version_reads(F f) {
    std::size_t count = 0;
    hook = [&](const StoreCall& call, bool before) {
      if (before && reads_version(call)) ++count;
    };
    f();
    hook = nullptr;
    return count;
  }

  // The next read that `is_meant` erases a tag, by another cache: before or after it is made.
  template <class IsMeant>
  void erase_at(bool at_begin, const std::string& tag, IsMeant is_meant) {
    hook = [this, at_begin, tag, is_meant](const StoreCall& call, bool before) {
      if (before != at_begin || !is_meant(call)) return;
      Cache& other = other_;
      const std::string erased = tag;
      hook = nullptr;  // destroys what was captured
      other.erase_tag(erased);
    };
  }

  CacheRegistry registry_{
      config(), {.linked_plugins = {&locmem::plugin, &testing::memory_store, &hook_layer}}};
  Cache& mine_ = registry_["mine"];
  Cache& other_ = registry_["other"];
};

TEST_P(TagStamps, TheSecondReadOfTagsReadsNoVersion) {
  mine_.set("k", 1, {.tags = {"a", "b"}});
  mine_.set("l", 2, {.tags = {"a", "b"}});
  mine_.set("m", 3, {.tags = {"a"}});
  EXPECT_GT(version_reads([&] { EXPECT_EQ(mine_.get<int>("k"), 1); }), 0U);
  const auto read_all = [&] {
    EXPECT_EQ(mine_.get<int>("k"), 1);
    EXPECT_EQ(mine_.get<int>("l"), 2) << "an entry with the same tags";
    EXPECT_EQ(mine_.get_or_set("l", [] { return 9; }), 2);
    EXPECT_EQ(mine_.get_or_set("l", [] { return 9; }, {.tags = {"a", "b"}}), 2);
    EXPECT_EQ(mine_.get_or_set("l", [] { return 9; }, {.timeout = 1h, .tags = {"a", "c"}}), 2);
    EXPECT_EQ(mine_.get_many<int>({"k", "l"})[1], 2);
    EXPECT_EQ(mine_.get_entry<int>("l").value, 2);
    EXPECT_TRUE(mine_.visit("l", [](std::string_view) {}));
  };
  EXPECT_EQ(version_reads(read_all), 0U);
  EXPECT_GT(version_reads([&] { EXPECT_EQ(mine_.get<int>("m"), 3); }), 0U) << "it has others";
  EXPECT_EQ(version_reads([&] { EXPECT_EQ(mine_.get<int>("m"), 3); }), 0U);
  EXPECT_EQ(version_reads(read_all), 0U);
}

TEST_P(TagStamps, ABulkReadRemembersTags) {
  mine_.set("k", 1, {.tags = {"a"}});
  mine_.set("l", 2, {.tags = {"b"}});
  const auto read = [&] {
    EXPECT_EQ(mine_.get_many<int>({"k", "l"}), (std::vector<std::optional<int>>{1, 2}));
  };
  EXPECT_GT(version_reads(read), 0U);
  EXPECT_EQ(version_reads(read), 0U);
  EXPECT_EQ(version_reads([&] { EXPECT_EQ(mine_.get<int>("l"), 2); }), 0U);
}

TEST_P(TagStamps, AWriteOfAnotherEntryChangesNothing) {
  mine_.set("k", 1, {.tags = {"a"}});
  mine_.get("k");
  other_.set("plain", "12345678");
  other_.set("plain", "87654321");
  other_.erase("plain");
  other_.set("l", 2, {.tags = {"a"}});
  EXPECT_EQ(version_reads([&] { EXPECT_EQ(mine_.get<int>("k"), 1); }), 0U);
  EXPECT_EQ(version_reads([&] { EXPECT_EQ(mine_.get<int>("l"), 2); }), 0U);
}

TEST_P(TagStamps, WhatAnotherCacheErasesIsNoticedByTheNextRead) {
  for (const char* const tag : {"a", "b"}) {
    mine_.set("k", 1, {.tags = {"a", "b"}});
    mine_.set("l", 2, {.tags = {"c"}});
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(mine_.get<int>("k"), 1);
      EXPECT_EQ(mine_.get<int>("l"), 2);
    }
    other_.erase_tag(tag);
    EXPECT_FALSE(mine_.get("k")) << tag;
    EXPECT_EQ(mine_.get<int>("l"), 2);
  }
}

TEST_P(TagStamps, ATagErasedBetweenTheReadsOfEntryAndVersionsIsNoticed) {
  const auto get = [&] { return mine_.get<int>("k"); };
  const auto get_many = [&] { return mine_.get_many<int>({"k"})[0]; };
  const std::vector<std::function<std::optional<int>()>> reads{get, get_many};
  const auto reads_k = [](const StoreCall& call) { return reads_entry(call, "k"); };
  for (const auto& read : reads) {
    for (const bool is_known : {false, true}) {
      mine_.set("k", 1, {.tags = {"a"}});
      if (is_known) {
        EXPECT_EQ(read(), 1);
      }
      erase_at(false, "a", reads_k);
      EXPECT_EQ(read(), std::nullopt);
      EXPECT_FALSE(hook) << "else nothing was erased";
    }
  }
}

TEST_P(TagStamps, ATagErasedWhileItIsRememberedIsNoticedByTheNextRead) {
  const auto get = [&] { return mine_.get<int>("k"); };
  const auto get_many = [&] { return mine_.get_many<int>({"k"})[0]; };
  const std::vector<std::function<std::optional<int>()>> reads{get, get_many};
  for (const auto& read : reads) {
    mine_.set("k", 1, {.tags = {"a"}});
    erase_at(false, "a", reads_version);
    EXPECT_EQ(read(), 1) << "it was current when its version was read";
    EXPECT_FALSE(hook) << "else nothing was erased";
    EXPECT_EQ(read(), std::nullopt);
  }
}

TEST_P(TagStamps, ARecorderAndALongerLifeWorkWithRememberedTags) {
  mine_.set("k", 1, {.timeout = 1s, .tags = {"a"}});
  mine_.get("k");
  {
    const TagRecorder recorder;
    EXPECT_EQ(version_reads([&] { mine_.get("k"); }), 0U);
    EXPECT_EQ(recorder.names(), std::vector<std::string>{"a"});
  }
  EXPECT_EQ(mine_.get<int>("k", {.touch = 24h}), 1);
  std::optional<Ttl> life;
  mine_.extension<TtlExtension>()->get(":~t:a", [&](std::string_view, Ttl left) { life = left; });
  ASSERT_TRUE(life);
  EXPECT_GT(life->value(), 24h) << "the version must outlive the entry";
}

TEST_P(TagStamps, TagsThatAreTooManyToRememberAreStillChecked) {
  std::vector<std::string> many;
  for (int i = 0; i < 30; ++i) many.push_back("tag" + std::to_string(i));
  mine_.set("k", 1, {.tags = many});
  EXPECT_EQ(mine_.get<int>("k"), 1);
  EXPECT_GT(version_reads([&] { EXPECT_EQ(mine_.get<int>("k"), 1); }), 0U);
  other_.erase_tag("tag29");
  EXPECT_FALSE(mine_.get("k"));
}

TEST_P(TagStamps, MoreSetsOfTagsThanAreRememberedAreAllChecked) {
  constexpr int sets = 500;
  const auto name = [](int i) { return "t" + std::to_string(i); };
  for (int i = 0; i < sets; ++i) mine_.set(name(i), i, {.tags = name(i)});
  const std::size_t reads = version_reads([&] {
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < sets; ++i) ASSERT_EQ(mine_.get<int>(name(i)), i);
    }
  });
  EXPECT_GT(reads, std::size_t{sets} + 300) << "it remembers a bounded number";
  for (int i = 0; i < sets; i += 7) other_.erase_tag(name(i));
  for (int i = 0; i < sets; ++i) EXPECT_EQ(mine_.get(name(i)).has_value(), i % 7 != 0) << i;
}

// The remembered versions may be outdated, so that nothing may be concluded from them.
TEST_P(TagStamps, AreNotUsedWithVersionsThatTheProcessRemembers) {
  Cache& remembering = registry_["remembering"];
  remembering.set("k", 1, {.tags = {"a"}});
  remembering.get("k");
  other_.erase_tag("a");
  other_.set("k", 2, {.tags = {"a"}});
  EXPECT_EQ(remembering.get<int>("k"), 2) << "what others write is seen at once";
  EXPECT_EQ(version_reads([&] { remembering.get("k"); }), 0U);
}

INSTANTIATE_TEST_SUITE_P(Stores, TagStamps, ::testing::Values("locmem", "memory"),
                         [](const auto& store) { return std::string(store.param); });

// The store forgets a version to make room: nothing tells the cache so.
TEST(LocmemTagStamps, AnEvictedVersionCountsAsErased) {
  CacheRegistry registry({.caches = {{"default",
                                      {.backend = "locmem",
                                       .options = {{"max_entries", std::int64_t{100}},
                                                   {"policy", std::string("lru")}}}}}},
                         {.linked_plugins = {&locmem::plugin}});
  Cache& cache = registry["default"];
  cache.set("k", 1, {.tags = {"a"}});
  EXPECT_EQ(cache.get<int>("k"), 1);
  // Uses the entry, and not its version.
  const std::string entry = cache.final_key("k");
  const auto ignore = [](std::string_view) {};
  for (int i = 0; i < 10'000 && cache.backend().contains(":~t:a", ignore); ++i) {
    cache.set("other:" + std::to_string(i), i);
    ASSERT_TRUE(cache.backend().get(entry, ignore));
  }
  ASSERT_FALSE(cache.backend().contains(":~t:a", ignore));
  EXPECT_FALSE(cache.get("k"));
}

// Else the store would evict it, and with it all entries that carry it.
TEST(LocmemTagStamps, AVersionStaysInUseWhileItsEntriesAreRead) {
  for (const char* const policy : {"s3-fifo", "lru"}) {
    CacheRegistry registry({.caches = {{"default",
                                        {.backend = "locmem",
                                         .options = {{"max_entries", std::int64_t{100}},
                                                     {"policy", std::string(policy)}}}}}},
                           {.linked_plugins = {&locmem::plugin}});
    Cache& cache = registry["default"];
    cache.set("k", 1, {.tags = {"a"}});
    for (int i = 0; i < 5000; ++i) {
      cache.set("other:" + std::to_string(i), i);
      ASSERT_EQ(cache.get<int>("k"), 1) << policy << " after " << i;
    }
  }
}

}  // namespace
}  // namespace polycache
