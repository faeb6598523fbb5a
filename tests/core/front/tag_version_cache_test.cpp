// "tag_version_cache": which requests it saves, and when an erased tag is noticed.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/recording_layer.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;

// Two aliases of one store, as two processes: each knows nothing of what the other does.
class TagVersionCacheTest : public ::testing::Test {
 protected:
  static CacheConfig alias(const std::string& name) {
    return {.backend = "locmem",
            .location = {"tag_version_cache"},
            .tag_version_cache = 150ms,
            .layers = {{"recording", {{"into", name}}}, {"chaos"}}};
  }

  // How many requests of its alias reached the store while f() ran.
  template <class F>
  std::size_t requests(F f) {
    recording_->clear();
    f();
    return recording_->calls().size();
  }

  testing::ManualClock clock_;
  std::shared_ptr<testing::Recording> recording_ = testing::Recording::named("mine", clock_);
  CacheRegistry registry_{
      Config{.caches = {{"mine", alias("mine")}, {"other", alias("other")}}},
      {.clock = &clock_,
       .on_warning = {},
       .linked_plugins = {&locmem::plugin, &testing::recording_layer, &testing::chaos_layer}}};
  Cache& mine_ = registry_["mine"];
  Cache& other_ = registry_["other"];
};

TEST_F(TagVersionCacheTest, ReadsOfEntriesWithKnownTagsMakeOneRequest) {
  mine_.set("k", 1, {.tags = {"a"}});
  mine_.set("l", 2, {.tags = {"a", "b"}});
  EXPECT_EQ(requests([&] { EXPECT_EQ(mine_.get<int>("k"), 1); }), 2U);
  EXPECT_EQ(requests([&] { EXPECT_EQ(mine_.get<int>("k"), 1); }), 1U);
  EXPECT_EQ(requests([&] { EXPECT_EQ(mine_.get<int>("l"), 2); }), 2U) << "it does not know b";
  EXPECT_EQ(requests([&] { EXPECT_EQ(mine_.get<int>("l"), 2); }), 1U);
  EXPECT_EQ(requests([&] { EXPECT_EQ(mine_.get_many<int>({"k", "l"})[1], 2); }), 1U);
  clock_.advance(151ms);
  EXPECT_EQ(requests([&] { EXPECT_EQ(mine_.get_many<int>({"k", "l"})[1], 2); }), 2U);
  EXPECT_EQ(requests([&] { EXPECT_EQ(mine_.get<int>("l"), 2); }), 1U);
}

TEST_F(TagVersionCacheTest, ATagThatOthersEraseIsNoticedInTime) {
  mine_.set("k", 1, {.tags = {"a"}});
  mine_.get("k");
  other_.erase_tag("a");
  EXPECT_EQ(mine_.get<int>("k"), 1) << "at most 150 ms late";
  EXPECT_FALSE(other_.get("k"));
  clock_.advance(150ms);
  EXPECT_FALSE(mine_.get("k"));
  other_.set("k", 2, {.tags = {"a"}});
  EXPECT_EQ(mine_.get<int>("k"), 2) << "what others write is seen at once";
  other_.erase_tag("a");
  other_.set("k", 3, {.tags = {"a"}});
  EXPECT_EQ(mine_.get<int>("k"), 3);
}

TEST_F(TagVersionCacheTest, ATagThatTheProcessErasesIsNoticedAtOnce) {
  mine_.set("k", 1, {.tags = {"a"}});
  mine_.get("k");
  mine_.erase_tag("a");
  EXPECT_FALSE(mine_.get("k"));
  EXPECT_EQ(mine_.get_many<int>({"k"})[0], std::nullopt);
  mine_.set("k", 2, {.tags = {"a"}});
  EXPECT_EQ(mine_.get<int>("k"), 2);
  const TagSnapshot before = mine_.tags("a");
  mine_.clear();
  mine_.set("k", 3, {.tags = before});
  EXPECT_FALSE(mine_.get("k")) << "clear() removed the version";
}

// The reply was lost; the version may be gone.
TEST_F(TagVersionCacheTest, AnErasureThatThrowsForgetsTheVersion) {
  mine_.set("k", 1, {.tags = {"a"}});
  mine_.get("k");
  const auto chaos = testing::Chaos::named("mine", clock_);
  chaos->set({.script = {{.act = testing::ChaosAct::fail_after}}});
  EXPECT_THROW(mine_.erase_tag("a"), BackendError);
  chaos->off();
  clock_.advance(10ms);
  EXPECT_FALSE(mine_.get("k"));
}

TEST_F(TagVersionCacheTest, TouchAndRecordersWorkWithKnownVersions) {
  mine_.set("k", 1, {.timeout = 1s, .tags = {"a"}});
  mine_.get("k");
  EXPECT_TRUE(mine_.touch("k", 24h));
  clock_.advance(5h);
  EXPECT_EQ(mine_.get<int>("k"), 1) << "touch lengthened the life of the version";
  const TagRecorder recorder;
  EXPECT_EQ(mine_.get<int>("k"), 1);
  EXPECT_EQ(recorder.names(), std::vector<std::string>{"a"});
}

TEST_F(TagVersionCacheTest, RemembersABoundedNumberOfTags) {
  for (int i = 0; i < 6000; ++i) {
    const std::string name = "t" + std::to_string(i);
    mine_.set(name, i, {.tags = name});
    ASSERT_EQ(mine_.get<int>(name), i);
  }
  std::size_t asked = 0;
  for (int i = 0; i < 6000; ++i) {
    asked += requests([&] { mine_.get("t" + std::to_string(i)); }) - 1;
  }
  EXPECT_GE(asked, 6000U - 4096U);
}

TEST_F(TagVersionCacheTest, NoThreadReadsAValueAfterItsProcessErasedTheTag) {
  std::atomic<int> outdated{0};
  std::atomic<int> begun{0};
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Cache& cache = registry_["mine"];
      for (int step = 0; step < 2000; ++step) {
        if (t == 0) {
          ++begun;
          cache.erase_tag("a");
          ++done;
        } else if (t == 1) {
          const TagSnapshot before = cache.tags("a");
          const int value = begun;
          cache.set("k", value, {.tags = before});
        } else {
          const int erased = done;
          const auto value = cache.get<int>("k");
          if (value && *value < erased) ++outdated;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(outdated, 0);
}

}  // namespace
}  // namespace polycache
