// The index of tags of the store "sqlite": what it has in its file, which other processes change.
// What every store with an index does is in the conformance suite.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "polycache/backends/sqlite.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "support/sqlite_file.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using testing::Database;
using testing::start_child;
using testing::wait_for;

class SqliteTags : public ::testing::Test {
 protected:
  CacheRegistry open(OptionMap options = {}) {
    return CacheRegistry(
        Config{.caches = {{"default",
                           {.backend = "sqlite",
                            .location = {path_},
                            .on_error = {ErrorPolicy::throw_error, ErrorPolicy::throw_error},
                            .options = std::move(options)}}}},
        {.clock = &clock_, .on_warning = {}, .linked_plugins = {&sqlite::plugin}});
  }
  // Runs f(cache) in another process.
  template <class F>
  void elsewhere(F f) {
    EXPECT_EQ(wait_for(start_child([&] {
                CacheRegistry registry = open({{"busy_timeout", "20s"}});
                return f(registry["default"]);
              })),
              0);
  }
  std::string rows(const std::string& table = "cache") {
    return Database(path_).text("SELECT count(*) FROM \"polycache_tags_" + table + "\"");
  }

  testing::SqliteFolder folder_;
  const std::string path_ = folder_.file("tags.db");
  testing::ManualClock clock_;
};

TEST_F(SqliteTags, TheIndexOutlivesItsProcess) {
  elsewhere([](Cache& cache) {
    cache.set("before", 1, {.tags = {"a"}});
    const bool made = cache.create_tag_index();
    return made && cache.set("after", 1, {.tags = {"a", "b"}});
  });
  EXPECT_EQ(rows(), "3");
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  EXPECT_FALSE(cache.create_tag_index());
  EXPECT_EQ(cache.erase_tag("a"), 2U);
  EXPECT_EQ(rows(), "0");
  EXPECT_TRUE(cache.drop_tag_index());
  EXPECT_EQ(Database(path_).text("SELECT count(*) FROM sqlite_master WHERE name LIKE "
                                 "'polycache_tag%'"),
            "0");
}

TEST_F(SqliteTags, AnIndexThatAnotherProcessMakesIsNoticedWithinATenthOfASecond) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  cache.set("k", 1, {.tags = {"a"}});
  elsewhere([](Cache& other) { return other.create_tag_index(); });
  clock_.advance(100ms);
  cache.set("l", 1, {.tags = {"a"}});
  EXPECT_EQ(cache.erase_tag("a"), 2U);
}

TEST_F(SqliteTags, AnIndexThatAnotherProcessDropsHindersNoWrite) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  cache.create_tag_index();
  cache.set("k", 1, {.tags = {"a"}});
  elsewhere([](Cache& other) { return other.drop_tag_index(); });
  EXPECT_TRUE(cache.set("k", 2, {.tags = {"a"}}));
  EXPECT_TRUE(cache.set_many({{"l", 2}}, {.tags = {"a"}}).empty());
  EXPECT_EQ(cache.get<int>("k"), 2);
  EXPECT_EQ(cache.erase_tag("a"), std::nullopt);
  EXPECT_FALSE(cache.get("k"));
}

// Such as an older version of this library.
TEST_F(SqliteTags, WritersThatDoNotKnowTheIndexLeaveNoRowsOfOtherValues) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  cache.create_tag_index();
  for (const char* const key : {"a", "b", "c", "d"}) cache.set(key, key, {.tags = {"t"}});
  EXPECT_EQ(rows(), "4");
  {
    Database other(path_);
    other.execute("UPDATE cache SET value = x'77' WHERE key = CAST(':1:a' AS BLOB)");
    other.execute(
        "REPLACE INTO cache(id, key, written, expires, value) SELECT id, key, written, "
        "expires, x'77' FROM cache WHERE key = CAST(':1:b' AS BLOB)");
    other.execute("DELETE FROM cache WHERE key = CAST(':1:c' AS BLOB)");
  }
  EXPECT_EQ(rows(), "1");
  EXPECT_EQ(cache.erase_tag("t"), 1U);
  EXPECT_EQ(cache.get("a"), "w");
  EXPECT_EQ(cache.get("b"), "w");
}

TEST_F(SqliteTags, AnIndexWhoseMakingWasInterruptedIsCompletedByTheNextCall) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  cache.create_tag_index();
  cache.set("a", 1, {.tags = {"t"}});
  cache.set("b", 1, {.tags = {"t"}});
  Database(path_).execute("DELETE FROM polycache_tags_cache");
  EXPECT_FALSE(cache.create_tag_index());
  EXPECT_EQ(cache.erase_tag("t"), 2U);
}

TEST_F(SqliteTags, TablesOfAnyNameHaveTheirOwnIndex) {
  const std::vector<std::string> names{"new", "old", "cache", "tags_cache", "a \"b' c", "excluded"};
  for (const bool with_limit : {false, true}) {
    for (const std::string& name : names) {
      OptionMap options{{"table", name}};
      if (with_limit) options["max_entries"] = std::int64_t{1000};
      CacheRegistry registry = open(options);
      Cache& cache = registry["default"];
      cache.create_tag_index();
      cache.set("k", 1, {.tags = {"t"}});
      cache.set("k", 2, {.tags = {"t"}});
      cache.set("l", 2, {.tags = {"t"}});
      cache.set("l", 3);
      EXPECT_EQ(cache.erase_tag("t"), 1U) << name;
      EXPECT_EQ(cache.get<int>("l"), 3) << name;
    }
  }
}

TEST_F(SqliteTags, TheIndexHasNoRowsOfEntriesThatAreGone) {
  CacheRegistry registry = open({{"max_entries", std::int64_t{64}}, {"checksum", true}});
  Cache& cache = registry["default"];
  cache.create_tag_index();
  for (int i = 0; i < 1000; ++i) {
    cache.set("k" + std::to_string(i), i, {.timeout = 1s, .tags = {"t", "u" + std::to_string(i)}});
  }
  EXPECT_LE(std::stoi(rows()), 2 * 64);
  clock_.advance(2s);
  EXPECT_GT(cache.maintenance().expire(), 0U);
  EXPECT_EQ(rows(), "0");
}

TEST_F(SqliteTags, ProcessesWriteAndEraseTagsTogether) {
  constexpr int processes = 3;
  elsewhere([](Cache& cache) { return cache.create_tag_index(); });
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    children.push_back(start_child([&, p] {
      CacheRegistry registry = open({{"busy_timeout", "30s"}});
      Cache& cache = registry["default"];
      std::mt19937 random{static_cast<std::uint32_t>(p)};
      const std::string mine = "mine" + std::to_string(p);
      for (int step = 0; step < 100; ++step) {
        const std::string tag = "t" + std::to_string(random() % 3);
        cache.set("k" + std::to_string(random() % 8), step, {.tags = {tag}});
        if (random() % 5 == 0) cache.erase_tag(tag);
        cache.set(mine, step, {.tags = {tag, mine}});
        cache.set(mine, step);
        if (random() % 5 == 0) cache.erase_tag(tag);
        if (cache.get<int>(mine) != step) return false;
        cache.set(mine, step, {.tags = {mine}});
        if (cache.erase_tag(mine) != 1U || cache.get(mine)) return false;
      }
      return true;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  for (const char* const tag : {"t0", "t1", "t2"}) EXPECT_TRUE(cache.erase_tag(tag).has_value());
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(cache.get("k" + std::to_string(i)));
}

}  // namespace
}  // namespace polycache
