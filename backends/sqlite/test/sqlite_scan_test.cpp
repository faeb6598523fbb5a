// Listing and erasing by pattern in sqlite: by ranges of row ids, with no transaction open between
// two pages.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/backends/sqlite.h"
#include "polycache/error.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"
#include "support/sqlite_file.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using testing::Database;
using testing::TestContext;

using Counts = std::map<std::string, int>;

class SqliteScan : public ::testing::Test {
 protected:
  void open(OptionMap options = {}, const std::string& location = "") {
    factory_ = make_factory(
        sqlite::plugin, context_,
        {.location = {location.empty() ? path_ : location}, .options = std::move(options)});
    session_ = factory_->connect();
  }
  void put(const std::string& key, Ttl ttl = Ttl::forever(), std::string_view value = "v") {
    session_->put(key, value, ttl, PutMode::always);
  }
  void fill(int count) {
    std::vector<std::string> keys;
    for (int i = 0; i < count; ++i) keys.push_back("k" + std::to_string(i));
    std::vector<Item> items;
    for (const std::string& key : keys) items.push_back({key, "v", Ttl::forever()});
    session_->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  }
  template <class Extension>
  Extension& of() {
    return *static_cast<Extension*>(session_->extension(Extension::id));
  }
  std::string page(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                   Counts& counts) {
    return of<ScanExtension>().scan(
        pattern, cursor, at_most,
        [&](const ScanExtension::Listed& entry) { ++counts[std::string(entry.key)]; });
  }
  Counts listed(std::string_view pattern, std::size_t at_most = 100) {
    Counts counts;
    std::string cursor;
    do {
      cursor = page(pattern, cursor, at_most, counts);
    } while (!cursor.empty());
    return counts;
  }

  testing::SqliteFolder folder_;
  const std::string path_ = folder_.file("scan.db");
  testing::ManualClock clock_;
  TestContext context_{clock_};
  std::unique_ptr<BackendFactory> factory_;
  std::unique_ptr<Backend> session_;
};

TEST_F(SqliteScan, ListsEachEntryOnceInAFileAndInMemory) {
  for (const std::string& location : {path_, std::string(":memory:scan")}) {
    open({}, location);
    fill(1234);
    const Counts counts = listed("k*");
    EXPECT_EQ(counts.size(), 1234U) << location;
    for (const auto& [key, count] : counts) EXPECT_EQ(count, 1) << key;
    EXPECT_EQ(listed("k1?3").size(), 10U);
  }
}

TEST_F(SqliteScan, APageExaminesAsManyRowsAsItIsAskedFor) {
  open();
  fill(1000);
  Counts counts;
  const std::string cursor = page("k*", "", 100, counts);
  EXPECT_EQ(counts.size(), 100U);
  EXPECT_NE(cursor, "");
  EXPECT_NE(page("none*", "", 100, counts), "") << "rows that do not match are examined, too";
}

// The log can be emptied only while no reader has a transaction open.
TEST_F(SqliteScan, KeepsNoTransactionOpenBetweenPages) {
  open();
  fill(1000);
  Counts counts;
  std::string cursor = page("k*", "", 100, counts);
  put("k-new");
  Database other(path_);
  EXPECT_EQ(other.text("PRAGMA wal_checkpoint(TRUNCATE)"), "0") << "1: a reader is in the way";
  other.execute("BEGIN EXCLUSIVE; DELETE FROM cache WHERE key = CAST('k0' AS BLOB); COMMIT");
  while (!cursor.empty()) cursor = page("k*", cursor, 100, counts);
  EXPECT_GE(counts.size(), 999U);
}

TEST_F(SqliteScan, AWriterBetweenPagesChangesNothingForTheOthers) {
  open();
  fill(2000);
  Counts counts;
  std::string cursor;
  int added = 0;
  do {
    cursor = page("k*", cursor, 100, counts);
    for (int i = 0; i < 100; ++i) put("new" + std::to_string(added++));
  } while (!cursor.empty() && added < 20'000);
  EXPECT_EQ(counts.size(), 2000U);
  for (const auto& [key, count] : counts) EXPECT_EQ(count, 1) << key;
}

TEST_F(SqliteScan, ReportsTheSizesOfValuesWithoutTheKeys) {
  open();
  put("empty", Ttl(1s), "");
  put("small", Ttl(5s), "12345");
  put("large", Ttl::forever(), std::string(100'000, 'x'));
  std::map<std::string, std::uint64_t> sizes;
  of<ScanExtension>().scan("*", "", 1000, [&](const ScanExtension::Listed& entry) {
    sizes[std::string(entry.key)] = entry.size;
    EXPECT_EQ(entry.left->is_forever(), entry.key == "large");
  });
  EXPECT_EQ(sizes,
            (std::map<std::string, std::uint64_t>{{"empty", 0}, {"small", 5}, {"large", 100'000}}));
}

TEST_F(SqliteScan, ListsNothingThatExpiredOrThatAClockSetBackWouldKeep) {
  open();
  put("short", Ttl(1s));
  put("long", Ttl(1h));
  put("forever");
  clock_.advance(2s);
  EXPECT_EQ(listed("*"), (Counts{{"long", 1}, {"forever", 1}}));
  clock_.advance(-1h);
  EXPECT_EQ(listed("*"), (Counts{{"forever", 1}}));
  EXPECT_EQ(of<ErasePatternExtension>().erase_pattern("*"), 1U) << "live ones are counted";
}

TEST_F(SqliteScan, ErasePatternWorksInStepsAndWithChecksums) {
  open({{"checksum", true}, {"max_entries", std::int64_t{100'000}}});
  fill(2000);
  put("other");
  EXPECT_EQ(of<ErasePatternExtension>().erase_pattern("k*5"), 200U);
  EXPECT_EQ(listed("k*").size(), 1800U);
  EXPECT_EQ(of<ErasePatternExtension>().erase_pattern("k*"), 1800U);
  EXPECT_EQ(listed("*"), (Counts{{"other", 1}}));
}

TEST_F(SqliteScan, ReadsAFileThatItMayNotWrite) {
  open();
  fill(10);
  session_.reset();
  factory_.reset();
  using std::filesystem::perms;
  const bool is_root = ::geteuid() == 0;  // permissions do not bind it
  if (is_root) {
    std::filesystem::permissions(path_, perms::owner_read | perms::group_read | perms::others_read);
    std::filesystem::permissions(std::filesystem::path(path_).parent_path(), perms::all);
  } else {
    std::filesystem::permissions(path_, perms::owner_read);
  }
  const pid_t child = fork();
  if (child == 0) {
    if (is_root && ::setuid(65533) != 0) _exit(2);
    open();
    _exit(::access(path_.c_str(), W_OK) != 0 && listed("*").size() == 10 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SqliteScan, RefusesACursorOfAnotherStore) {
  open();
  const auto ignore = [](const ScanExtension::Listed&) {};
  for (const char* const cursor : {"x", "0.0", "1 ", "99999999999999999999"}) {
    EXPECT_THROW(of<ScanExtension>().scan("*", cursor, 10, ignore), ValueError) << cursor;
  }
}

}  // namespace
}  // namespace polycache
