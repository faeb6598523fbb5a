// The store "sqlite" looks for damage in its file, repairs what it can, and gives free space back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/author/index_extension.h"
#include "polycache/backends/sqlite.h"
#include "polycache/polycache.h"
#include "support/forks.h"
#include "support/sqlite_file.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using testing::Database;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::read_file;
using testing::write_file;

class SqliteCheck : public ::testing::Test {
 protected:
  CacheRegistry open(OptionMap options = {}) { return open_at(path_, std::move(options)); }
  static CacheRegistry open_at(const std::string& location, OptionMap options = {}) {
    return CacheRegistry(
        Config{.caches = {{"default",
                           {.backend = "sqlite",
                            .location = {location},
                            .key_prefix = "p",
                            .on_error = {ErrorPolicy::throw_error, ErrorPolicy::throw_error},
                            .options = std::move(options)}}}},
        {.on_warning = {}, .linked_plugins = {&sqlite::plugin}});
  }
  static std::vector<std::string> texts(const std::vector<StoreProblem>& problems) {
    std::vector<std::string> result;
    for (const StoreProblem& problem : problems) {
      result.push_back(problem.text + (problem.is_fixed ? " (fixed)" : ""));
    }
    return result;
  }
  static std::vector<std::string> check(Cache& cache, Fix fix = Fix::no) {
    return texts(cache.maintenance().check(fix));
  }
  std::string file_text(const std::string& sql) const { return Database(path_).text(sql); }
  void change_file(const std::string& sql) const { Database(path_).execute(sql); }

  testing::SqliteFolder folder_;
  const std::string path_ = folder_.file("cache.db");
};

TEST_F(SqliteCheck, FindsNothingWrongInAFileThatIsWhole) {
  CacheRegistry registry = open({{"checksum", true}, {"max_entries", 1000}});
  Cache& cache = registry["default"];
  cache.create_tag_index();
  for (int i = 0; i < 600; ++i) {
    const std::string key = "k" + std::to_string(i);
    ASSERT_TRUE(cache.set(key, key, {.timeout = 1h, .tags = {"t" + std::to_string(i % 3)}}));
  }
  EXPECT_THAT(check(cache), IsEmpty());
  EXPECT_THAT(check(cache, Fix::yes), IsEmpty());
  EXPECT_EQ(cache.get<std::string>("k599"), "k599");
}

TEST_F(SqliteCheck, AnEntryInTheRowOfAnotherKeyIsRemoved) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  for (const char* const key : {"a", "b", "c"}) cache.set(key, key);
  change_file("UPDATE cache SET id = id / 2 + 1 WHERE key = CAST('p:1:b' AS BLOB)");
  EXPECT_THAT(check(cache), ElementsAre(HasSubstr("the entry \"p:1:b\" is not in the row")));
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "3") << "it was only looked at";
  EXPECT_THAT(check(cache, Fix::yes), ElementsAre(HasSubstr("(fixed)")));
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "2");
  EXPECT_THAT(check(cache), IsEmpty());
  EXPECT_EQ(cache.get<std::string>("a"), "a");
}

// As after an UPDATE by hand, whose texts SQLite stores as TEXT.
TEST_F(SqliteCheck, AnEntryWithColumnsOfOtherTypesStays) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  cache.set("a", "v");
  cache.set("b", "v");
  change_file(
      "UPDATE cache SET value = 'by hand', written = 1.5 WHERE key = CAST('p:1:a' AS BLOB)");
  EXPECT_EQ(cache.get<std::string>("a"), "by hand");
  EXPECT_THAT(check(cache, Fix::yes), ElementsAre(HasSubstr("has a column of a type")));
  EXPECT_THAT(check(cache), IsEmpty());
  EXPECT_EQ(cache.get<std::string>("a"), "by hand");
  EXPECT_EQ(file_text("SELECT typeof(value) || typeof(written) FROM cache WHERE written = 1"),
            "blobinteger");
}

TEST_F(SqliteCheck, AKeyThatIsNoBlobIsFoundByNothingAndRemoved) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  cache.set("a", "v");
  change_file("UPDATE cache SET key = 'p:1:a'");
  EXPECT_FALSE(cache.contains("a"));
  EXPECT_THAT(check(cache, Fix::yes), ElementsAre(HasSubstr("is not in the row of its key")));
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "0");
}

TEST_F(SqliteCheck, AnEntryThatDoesNotMatchItsChecksumIsRemoved) {
  CacheRegistry registry = open({{"checksum", true}});
  Cache& cache = registry["default"];
  cache.set("a", "v");
  cache.set("b", "v");
  change_file("UPDATE cache SET checksum = 5 WHERE key = CAST('p:1:a' AS BLOB)");
  EXPECT_THAT(check(cache), ElementsAre(HasSubstr("\"p:1:a\" does not match its checksum")));
  EXPECT_THAT(check(cache, Fix::yes), ElementsAre(HasSubstr("(fixed)")));
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "1");
}

TEST_F(SqliteCheck, TheIndexOfTagsIsMadeWhole) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  cache.create_tag_index();
  for (const char* const key : {"a", "b"}) cache.set(key, key, {.tags = {"t", "u"}});
  change_file(
      "DELETE FROM polycache_tags_cache WHERE id = (SELECT id FROM cache WHERE key = "
      "CAST('p:1:b' AS BLOB)); INSERT INTO polycache_tags_cache VALUES(1, 2)");
  EXPECT_THAT(check(cache), ElementsAre(HasSubstr("\"p:1:b\" is missing in the index of tags"),
                                        HasSubstr("rows of no entry in the index of tags: 1")));
  EXPECT_THAT(check(cache, Fix::yes), ElementsAre(HasSubstr("(fixed)"), HasSubstr("(fixed)")));
  EXPECT_THAT(check(cache), IsEmpty());
  EXPECT_EQ(file_text("SELECT count(*) FROM polycache_tags_cache"), "4");
}

TEST_F(SqliteCheck, AnIndexThatLacksRowsIsMadeAnew) {
  const std::string name = "cache_written";
  {
    CacheRegistry registry = open({{"max_entries", 1000}, {"eviction_order", "exact"}});
    registry["default"].set("a", "v");
  }
  const std::string root =
      file_text("SELECT rootpage FROM sqlite_master WHERE name = '" + name + "'");
  const std::string sql = file_text("SELECT sql FROM sqlite_master WHERE name = '" + name + "'");
  change_file("PRAGMA writable_schema=ON; DELETE FROM sqlite_master WHERE name = '" + name + "'");
  change_file("INSERT INTO cache SELECT id / 2, key, written, expires, value FROM cache");
  change_file("PRAGMA writable_schema=ON; INSERT INTO sqlite_master VALUES('index', '" + name +
              "', 'cache', " + root + ", '" + sql + "')");
  CacheRegistry registry = open({{"max_entries", 1000}, {"eviction_order", "exact"}});
  Cache& cache = registry["default"];
  EXPECT_THAT(check(cache), Not(IsEmpty()));
  const std::vector<std::string> found = check(cache, Fix::yes);
  ASSERT_THAT(found, Not(IsEmpty()));
  for (const std::string& problem : found) EXPECT_THAT(problem, HasSubstr("(fixed)"));
  EXPECT_THAT(check(cache), IsEmpty());
  EXPECT_EQ(file_text("PRAGMA integrity_check"), "ok");
}

TEST_F(SqliteCheck, ADamagedStructureIsFoundAndStays) {
  {
    CacheRegistry registry = open();
    for (int i = 0; i < 200; ++i) {
      registry["default"].set("k" + std::to_string(i), std::string(1000, 'v'));
    }
  }
  std::string bytes = read_file(path_);
  ASSERT_GT(bytes.size(), 40'000U);
  bytes.replace(32'768, 64, std::string(64, '\xff'));
  write_file(path_, bytes);
  CacheRegistry registry = open({{"on_corrupt", "throw"}});
  Cache& cache = registry["default"];
  const std::vector<std::string> found = check(cache, Fix::yes);
  ASSERT_THAT(found, Not(IsEmpty()));
  EXPECT_THAT(found.front(), HasSubstr(path_));
  for (const std::string& problem : found) EXPECT_THAT(problem, Not(HasSubstr("(fixed)")));
  EXPECT_EQ(read_file(path_), bytes);
}

// With the default of "on_corrupt", which moves such a file aside at the next operation.
TEST_F(SqliteCheck, AFileThatCannotBeOpenedIsAProblemAndStays) {
  {
    CacheRegistry registry = open();
    registry["default"].set("k", "v");
  }
  change_file("DELETE FROM polycache_meta");
  const std::string bytes = read_file(path_);
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  EXPECT_THAT(check(cache, Fix::yes), ElementsAre(HasSubstr("the hash secret is missing")));
  EXPECT_THAT(check(cache), ElementsAre(HasSubstr("the check of this file ended there")));
  EXPECT_EQ(read_file(path_), bytes);
  EXPECT_EQ(cache.get<std::string>("k"), std::nullopt) << "it was moved";
  EXPECT_THAT(check(cache), IsEmpty());
}

TEST_F(SqliteCheck, TheFileOfCollectionsIsCheckedToo) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  cache.set("k", "v");
  auto& index = *static_cast<IndexExtension*>(cache.backend().extension(IndexExtension::id));
  for (int i = 0; i < 200; ++i) {
    index.put({.key = "i", .type = "t"}, "k" + std::to_string(i), std::string(1000, 'v'),
              PutMode::always, [](std::string_view) {});
  }
  EXPECT_THAT(check(cache), IsEmpty());
  const std::string file = path_ + "-collections";
  Database(file).execute("INSERT INTO cache VALUES(7, CAST('k' AS BLOB), 1, 1, CAST('v' AS BLOB))");
  EXPECT_THAT(check(cache), ElementsAre(HasSubstr(file)));
}

TEST_F(SqliteCheck, ManyProblemsEndWithALineThatSaysSo) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  std::vector<std::pair<std::string, std::string>> items;
  for (int i = 0; i < 1200; ++i) items.emplace_back("k" + std::to_string(i), "v");
  cache.set_many(items);
  change_file("UPDATE cache SET id = id / 2 + 1");
  const std::vector<std::string> found = check(cache);
  ASSERT_EQ(found.size(), 1000U);
  EXPECT_THAT(found.back(), HasSubstr("there may be more problems"));
  check(cache, Fix::yes);
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "0") << "all are removed";
}

TEST_F(SqliteCheck, VacuumGivesTheSpaceOfRemovedEntriesBack) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  const Maintenance store = cache.maintenance();
  const auto fill = [&] {
    for (int i = 0; i < 3000; ++i) {
      ASSERT_TRUE(cache.set("k" + std::to_string(i), std::string(1000, 'v')));
    }
  };
  fill();
  for (const Vacuum how : {Vacuum::full, Vacuum::in_steps}) {
    store.vacuum(how);
    const std::uint64_t before = store.volume().value_or(0);
    for (int i = 100; i < 3000; ++i) cache.erase("k" + std::to_string(i));
    EXPECT_GT(store.vacuum(how), 2'000'000U);
    EXPECT_LT(store.volume().value_or(before), before - 2'000'000);
    EXPECT_LT(std::filesystem::file_size(path_), 1'000'000U);
    EXPECT_EQ(store.vacuum(), 0U);
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(cache.get<std::string>("k" + std::to_string(i)), std::string(1000, 'v')) << i;
    }
    EXPECT_THAT(check(cache), IsEmpty());
    fill();
  }
}

TEST_F(SqliteCheck, StepsNeedAFileThatWasVacuumedWholeOnce) {
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  for (int i = 0; i < 1000; ++i) cache.set("k" + std::to_string(i), std::string(1000, 'v'));
  for (int i = 10; i < 1000; ++i) cache.erase("k" + std::to_string(i));
  const Maintenance store = cache.maintenance();
  EXPECT_EQ(store.vacuum(), 0U);
  EXPECT_GT(store.vacuum(Vacuum::full), 500'000U);
  EXPECT_EQ(file_text("PRAGMA auto_vacuum"), "2");
  EXPECT_EQ(cache.get<std::string>("k9"), std::string(1000, 'v'));
  EXPECT_TRUE(cache.set("k9", 1));
}

TEST_F(SqliteCheck, VacuumRunsWhileOthersReadAndWrite) {
  CacheRegistry registry = open({{"busy_timeout", "20s"}});
  Cache& cache = registry["default"];
  for (int i = 0; i < 1000; ++i) cache.set("k" + std::to_string(i), std::string(1000, 'v'));
  std::thread other([&] {
    Cache& own = registry["default"];
    for (int i = 0; i < 300; ++i) {
      const std::string key = "own" + std::to_string(i);
      EXPECT_TRUE(own.set(key, i));
      EXPECT_EQ(own.get<int>(key), i);
      own.erase("k" + std::to_string(i * 3));
    }
  });
  for (int i = 0; i < 5; ++i) {
    cache.maintenance().vacuum(i % 2 == 0 ? Vacuum::in_steps : Vacuum::full);
    EXPECT_THAT(check(cache), IsEmpty());
  }
  other.join();
  EXPECT_EQ(cache.get<int>("own299"), 299);
}

TEST_F(SqliteCheck, ACheckEndsInAProcessThatForksAllTheTime) {
  if (!testing::allocator_survives_forks) return;
  CacheRegistry registry = open();
  Cache& cache = registry["default"];
  for (int i = 0; i < 3000; ++i) cache.set("k" + std::to_string(i), std::string(1000, 'v'));
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) testing::wait_for(testing::start_child([] { return true; }));
  });
  EXPECT_THAT(check(cache, Fix::yes), IsEmpty());
  cache.maintenance().vacuum(Vacuum::full);
  stop = true;
  other.join();
  EXPECT_EQ(cache.get<std::string>("k7"), std::string(1000, 'v'));
}

TEST_F(SqliteCheck, AStoreInMemoryIsCheckedAndVacuumed) {
  CacheRegistry registry = open_at(":memory:check");
  Cache& cache = registry["default"];
  for (int i = 0; i < 500; ++i) cache.set("k" + std::to_string(i), std::string(1000, 'v'));
  cache.clear();
  cache.set("k", "v");
  EXPECT_THAT(check(cache, Fix::yes), IsEmpty());
  EXPECT_GT(cache.maintenance().vacuum(Vacuum::full), 0U);
  EXPECT_EQ(cache.get<std::string>("k"), "v");
}

}  // namespace
}  // namespace polycache
