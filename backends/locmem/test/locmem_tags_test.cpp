// The index of tags of the store "locmem" while entries are evicted, moved and replaced.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;

class LocmemTags : public ::testing::TestWithParam<const char*> {
 protected:
  CacheRegistry open(OptionMap options) {
    options["policy"] = std::string(GetParam());
    return CacheRegistry(Config{.caches = {{"default",
                                            {.backend = "locmem",
                                             .location = {"locmem_tags"},
                                             .timeout = 10s,
                                             .options = std::move(options)}}}},
                         {.clock = &clock_, .on_warning = {}, .linked_plugins = {&locmem::plugin}});
  }

  testing::ManualClock clock_;
};

TEST_P(LocmemTags, NeverLosesTrackOfEntriesThatAreEvicted) {
  CacheRegistry registry = open({{"max_entries", std::int64_t{100}}});
  Cache& cache = registry["default"];
  cache.create_tag_index();
  std::mt19937 random{7};
  std::map<std::string, std::string> last;
  std::size_t erased = 0;
  for (int step = 0; step < 20'000; ++step) {
    const std::string key = "k" + std::to_string(random() % 300);
    const std::string tag = "t" + std::to_string(random() % 8);
    if (random() % 50 == 0) {
      erased += cache.erase_tag(tag).value_or(0);
      std::erase_if(last, [&](const auto& entry) { return entry.second.starts_with(tag + ":"); });
      continue;
    }
    if (random() % 1000 == 0) clock_.advance(11s);
    if (random() % 3000 == 0) cache.drop_tag_index();
    if (random() % 1000 == 0) cache.create_tag_index();
    const std::string value = tag + ":" + std::string(random() % 3000, 'v');
    ASSERT_TRUE(cache.set(key, value, {.tags = {tag}}));
    last[key] = value;
    const std::string other = "k" + std::to_string(random() % 300);
    const auto read = cache.get(other);
    if (read) {
      ASSERT_TRUE(last.contains(other)) << "its tag was erased";
      ASSERT_EQ(*read, last[other]);
    }
  }
  EXPECT_GT(erased, 0U);
}

TEST_P(LocmemTags, ErasesEveryEntryThatIsLeft) {
  CacheRegistry registry = open({{"max_entries", std::int64_t{1000}}});
  Cache& cache = registry["default"];
  for (int i = 0; i < 400; ++i) cache.set("a" + std::to_string(i), i, {.tags = {"t"}});
  cache.create_tag_index();
  for (int i = 0; i < 400; ++i) cache.set("b" + std::to_string(i), i, {.tags = {"t", "u"}});
  const std::size_t there = *cache.maintenance().counts().unexpired;  // with two versions of tags
  EXPECT_EQ(cache.erase_tag("t"), there - 2);
  EXPECT_EQ(cache.maintenance().counts().total, 1U);
}

TEST_P(LocmemTags, ThreadsEvictAndEraseTogether) {
  CacheRegistry registry = open({{"max_bytes", std::int64_t{200'000}}});
  registry["default"].create_tag_index();
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Cache& cache = registry["default"];
      std::mt19937 random{t};
      for (int step = 0; step < 3000; ++step) {
        const std::string tag = "t" + std::to_string(random() % 4);
        if (random() % 40 == 0) {
          cache.erase_tag(tag);
        } else if (random() % 500 == 0) {
          t % 2 == 0 ? cache.create_tag_index() : cache.drop_tag_index();
        } else {
          cache.set("k" + std::to_string(random() % 500), std::string(random() % 2000, 'v'),
                    {.tags = {tag}});
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Cache& cache = registry["default"];
  cache.create_tag_index();
  for (int t = 0; t < 4; ++t) cache.erase_tag("t" + std::to_string(t));
  EXPECT_FALSE(cache.get("k1"));
}

INSTANTIATE_TEST_SUITE_P(Policies, LocmemTags,
                         ::testing::Values("s3-fifo", "lru", "fifo", "lfu", "django"),
                         [](const auto& policy) {
                           std::string name(policy.param);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace polycache
