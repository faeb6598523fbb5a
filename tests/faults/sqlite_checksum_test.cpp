// Bytes of an entry that change on the disk: noticed by its checksum, where the option is on.

#include "checksum.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "faults/sqlite_fixture.h"

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;
using sqlite::checksum_of_contents;
using sqlite::checksum_of_row;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr Ttl forever = Ttl::forever();

// It lies in files.
TEST(SqliteChecksumFormat, StaysAsItIs) {
  const std::uint32_t contents = checksum_of_contents("key", "value");
  EXPECT_EQ(contents, crc32c("keyvalue", 3));
  EXPECT_NE(contents, checksum_of_contents("keyv", "alue"));
  EXPECT_EQ(checksum_of_row(contents, 1, 2), INT64_C(3694093183368390364));
}

// --- the store ---

class SqliteChecksum : public SqliteFixture {
 protected:
  static inline const OptionMap checksum_on = {{"checksum", true}};

  static std::optional<std::string> get(Backend& session, std::string_view key) {
    std::optional<std::string> result;
    session.get(key, [&](std::string_view value) { result.emplace(value); });
    return result;
  }

  template <class Extension>
  static Extension& extension(Backend& session) {
    return *static_cast<Extension*>(session.extension(Extension::id));
  }

  // Changes a column of a row as a disk would: with its checksum as it was.
  void damage(const std::string& key, const std::string& column, const std::string& value) {
    Database database(path());
    const std::string where = " WHERE key = CAST('" + key + "' AS BLOB)";
    database.execute("UPDATE cache SET checksum = checksum + 1" + where);
    database.execute("UPDATE cache SET checksum = checksum - 1, " + column + " = " + value + where);
  }
  void damage_value(const std::string& key) { damage(key, "value", "CAST('7' AS BLOB)"); }

  std::string count(const std::string& where) {
    return Database(path()).text("SELECT count(*) FROM cache WHERE " + where);
  }

  // What a session says, in order.
  std::vector<std::string> take_warnings() {
    std::vector<std::string> all = context_.warnings();
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(seen_));
    seen_ += all.size();
    return all;
  }

 private:
  std::size_t seen_ = 0;
};

// In the file itself.
TEST_F(SqliteChecksum, AByteThatChangesInAValueOnDiskIsAMissAndAWarning) {
  const auto value_of = [](int i) {
    return "value " + std::to_string(1000 + i) + std::string(static_cast<std::size_t>(i * 20), 'x');
  };
  {
    const auto session = make(checksum_on)->connect();
    for (int i = 0; i < 300; ++i) {
      session->put("k" + std::to_string(i), value_of(i), forever, PutMode::always);
    }
  }
  std::string bytes = read_file(path());
  for (int i = 0; i < 300; ++i) {
    // SQLite leaves copies where it moved something from.
    const std::string begin = "value " + std::to_string(1000 + i);
    std::size_t at = bytes.find(begin);
    ASSERT_NE(at, std::string::npos);
    for (; at != std::string::npos; at = bytes.find(begin)) {
      bytes[at + static_cast<std::size_t>(i % 10)] ^= '\x40';
    }
  }
  write_file(path(), bytes);
  const auto session = make(checksum_on)->connect();
  for (int i = 0; i < 300; ++i) EXPECT_FALSE(get(*session, "k" + std::to_string(i)));
  EXPECT_THAT(take_warnings(), SizeIs(300));
  // Without checksums nothing is noticed.
  EXPECT_NE(get(*make()->connect(), "k1"), std::nullopt);
}

TEST_F(SqliteChecksum, GetOrSetReplacesADamagedEntryAndTheWarningNamesIt) {
  const auto registry = make_registry(checksum_on);
  Cache& cache = (*registry)["c"];
  ASSERT_TRUE(cache.set("k", "old"));
  damage_value(":1:k");
  EXPECT_EQ(cache.get("k"), std::nullopt);
  EXPECT_TRUE(was_warned(Warning::Kind::entry_damaged, "\":1:k\" does not match its checksum"));
  EXPECT_EQ(cache.get_or_set("k", [] { return std::string("new"); }), "new");
  const std::size_t warnings = warned().size();
  EXPECT_EQ(cache.get("k"), "new");
  EXPECT_EQ(warned().size(), warnings);
  EXPECT_THAT(moved_aside(), IsEmpty());
}

TEST_F(SqliteChecksum, DamageToAnyPartOfAnEntryIsAMiss) {
  const auto session = make(checksum_on)->connect();
  const std::array<std::pair<const char*, const char*>, 5> changes = {{{"value", "x''"},
                                                                       {"value", "value || x'00'"},
                                                                       {"expires", "expires + 1"},
                                                                       {"written", "written - 1"},
                                                                       {"checksum", "7"}}};
  for (const auto& [column, value] : changes) {
    session->put("k", "value", Ttl(1h), PutMode::always);
    EXPECT_EQ(get(*session, "k"), "value");
    if (column == std::string_view("checksum")) {
      Database(path()).execute("UPDATE cache SET checksum = 7");
    } else {
      damage("k", column, value);
    }
    EXPECT_EQ(get(*session, "k"), std::nullopt) << column;
    EXPECT_THAT(take_warnings(), SizeIs(1)) << column;
  }
}

TEST_F(SqliteChecksum, ADamagedEntryIsAbsentToWhatReadsItsValue) {
  const auto session = make(checksum_on)->connect();
  const auto damaged = [&] {
    session->put("n", "1", forever, PutMode::always);
    damage_value("n");
    take_warnings();
    return std::string_view("n");
  };
  EXPECT_EQ(get(*session, damaged()), std::nullopt);
  EXPECT_THAT(take_warnings(), SizeIs(1));
  EXPECT_FALSE(extension<TtlExtension>(*session).get(damaged(), [](std::string_view, Ttl) {}));
  EXPECT_THAT(take_warnings(), SizeIs(1));
  EXPECT_FALSE(session->contains(damaged(), [](std::string_view) {}));
  EXPECT_THAT(take_warnings(), SizeIs(1));
  EXPECT_EQ(session->incr(damaged(), 1), std::nullopt);
  EXPECT_THAT(take_warnings(), SizeIs(1));
  auto& compare = extension<CompareExtension>(*session);
  EXPECT_FALSE(compare.put_if_equal(damaged(), "7", "8", forever));
  EXPECT_FALSE(compare.erase_if_equal("n", "7"));
  EXPECT_THAT(take_warnings(), SizeIs(2));
  EXPECT_TRUE(session->put(damaged(), "2", forever, PutMode::if_absent));
  EXPECT_THAT(take_warnings(), SizeIs(1));
  EXPECT_EQ(get(*session, "n"), "2");
}

TEST_F(SqliteChecksum, ABulkReadMissesTheDamagedEntriesOnly) {
  const auto session = make(checksum_on)->connect();
  for (const char* const key : {"a", "b", "c"}) session->put(key, key, forever, PutMode::always);
  damage_value("b");
  std::vector<std::string> values;
  session->get_many(std::vector<std::string_view>{"a", "b", "c"},
                    [&](std::size_t, std::string_view value) { values.emplace_back(value); });
  EXPECT_THAT(values, ElementsAre("a", "c"));
  EXPECT_THAT(take_warnings(), SizeIs(1));
}

TEST_F(SqliteChecksum, PopAndEraseRemoveADamagedEntry) {
  const auto session = make(checksum_on)->connect();
  session->put("k", "v", forever, PutMode::always);
  damage_value("k");
  EXPECT_FALSE(extension<PopExtension>(*session).pop("k", [](std::string_view) { FAIL(); }));
  EXPECT_THAT(take_warnings(), SizeIs(1));
  EXPECT_EQ(count("1"), "0");
  session->put("k", "v", forever, PutMode::always);
  damage_value("k");
  EXPECT_TRUE(session->erase("k"));  // it reads no value
  EXPECT_EQ(count("1"), "0");
  EXPECT_THAT(take_warnings(), IsEmpty());
}

// These do not read it.
TEST_F(SqliteChecksum, TouchAndContainsOfALargeValueDoNotNoticeDamage) {
  const auto session = make(checksum_on)->connect();
  session->put("k", std::string(5000, 'v'), forever, PutMode::always);
  damage("k", "value", "CAST(value || 'v' AS BLOB)");
  EXPECT_TRUE(session->contains("k", [](std::string_view) {}));
  EXPECT_TRUE(session->touch("k", forever));
  EXPECT_THAT(take_warnings(), IsEmpty());
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  EXPECT_THAT(take_warnings(), SizeIs(1));
}

// Each way to change an entry changes its checksum, too.
TEST_F(SqliteChecksum, EveryWriteKeepsTheChecksumRight) {
  for (const bool limited : {false, true}) {
    OptionMap options = checksum_on;
    if (limited) options["max_entries"] = std::int64_t{100};
    const auto session = make(options)->connect();
    auto& compare = extension<CompareExtension>(*session);
    const auto expect = [&](const std::string& value) {
      EXPECT_EQ(get(*session, "k"), value);
      EXPECT_EQ(count("checksum IS NULL"), "0");
    };
    session->clear();
    EXPECT_TRUE(session->put("k", "short", Ttl(1ms), PutMode::if_absent));
    clock_.advance(1ms);
    EXPECT_TRUE(session->put("k", "added", Ttl(1h), PutMode::if_absent));
    expect("added");
    EXPECT_TRUE(session->put("k", "1", Ttl(2h), PutMode::always));
    EXPECT_TRUE(session->put("k", "2", Ttl(3h), PutMode::always));
    expect("2");
    EXPECT_TRUE(session->put("k", "3", Ttl(1h), PutMode::if_present));
    expect("3");
    EXPECT_TRUE(session->touch("k", Ttl(2h)));
    expect("3");
    EXPECT_EQ(session->incr("k", 997), 1000);
    expect("1000");
    EXPECT_TRUE(compare.put_if_equal("k", "1000", "1001", std::nullopt));
    expect("1001");
    EXPECT_TRUE(compare.put_if_equal("k", "1001", "", forever));
    expect("");
    const std::string large(9000, 'x');
    const std::vector<Item> items{{"k", "4", forever}, {"large", large, Ttl(1h)}};
    session->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
    expect("4");
    EXPECT_TRUE(get(*session, "large") == large);
    EXPECT_TRUE(compare.erase_if_equal("k", "4"));
  }
  EXPECT_THAT(take_warnings(), IsEmpty());
}

// --- files with and without ---

TEST_F(SqliteChecksum, AFileGainsTheColumnOnlyWithTheOption) {
  const auto columns = [&] {
    return Database(path()).text("SELECT group_concat(name) FROM pragma_table_info('cache')");
  };
  make()->connect()->put("old", "1", forever, PutMode::always);
  EXPECT_EQ(columns(), "id,key,written,expires,value");
  const auto session = make(checksum_on)->connect();
  EXPECT_EQ(get(*session, "old"), "1");
  EXPECT_TRUE(session->touch("old", Ttl(1h)));
  EXPECT_EQ(columns(), "id,key,written,expires,value,checksum");
  EXPECT_EQ(count("checksum IS NULL"), "1");  // nothing is known of it
  EXPECT_EQ(session->incr("old", 1), 2);
  EXPECT_EQ(count("checksum IS NULL"), "0");
  EXPECT_EQ(Database(path()).text("PRAGMA user_version"), "1");
  EXPECT_THAT(take_warnings(), IsEmpty());
}

// Whether they opened the file before it had the column, or after.
TEST_F(SqliteChecksum, WhatSessionsWithoutTheOptionWriteIsNotTakenForDamaged) {
  for (const bool limited : {false, true}) {
    OptionMap options;
    if (limited) options["max_entries"] = std::int64_t{100};
    const auto factory = make(options);
    const auto before = factory->connect();
    before->put("x", "y", forever, PutMode::always);
    const auto checking = make(checksum_on)->connect();
    EXPECT_EQ(get(*checking, "x"), "y");
    const auto after = factory->connect();
    for (Backend* const without : {before.get(), after.get()}) {
      const auto write_over = [&](const auto& change, const std::string& expected) {
        checking->put("k", "1", Ttl(1h), PutMode::always);
        EXPECT_EQ(count("checksum IS NULL AND key = CAST('k' AS BLOB)"), "0");
        change();
        EXPECT_EQ(get(*checking, "k"), expected);
        EXPECT_EQ(count("checksum IS NULL AND key = CAST('k' AS BLOB)"), "1");
      };
      auto& compare = extension<CompareExtension>(*without);
      write_over([&] { without->put("k", "2", forever, PutMode::always); }, "2");
      write_over([&] { without->put("k", "2", forever, PutMode::if_present); }, "2");
      write_over([&] { without->incr("k", 1); }, "2");
      write_over([&] { without->touch("k", Ttl(2h)); }, "1");
      write_over([&] { compare.put_if_equal("k", "1", "2", std::nullopt); }, "2");
      write_over(
          [&] {
            clock_.advance(2h);
            without->put("k", "2", forever, PutMode::if_absent);
          },
          "2");
    }
    std::filesystem::remove(path());
    clock_.advance(1s);
  }
  EXPECT_THAT(take_warnings(), IsEmpty());
}

// As the statements of a library that does not know the column do.
TEST_F(SqliteChecksum, WhatAnOlderLibraryWritesIsNotTakenForDamaged) {
  const auto session = make(checksum_on)->connect();
  const std::array<const char*, 3> changes = {
      "REPLACE INTO cache(id, key, expires, written, value) "
      "SELECT id, key, expires, written + 1, CAST('2' AS BLOB) FROM cache",
      "UPDATE cache SET written = written + 1, value = CAST('2' AS BLOB)",
      "INSERT INTO cache(id, key, expires, written, value) "
      "SELECT id, key, expires, written + 1, CAST('2' AS BLOB) FROM cache WHERE 1 "
      "ON CONFLICT(id) DO UPDATE SET key = excluded.key, expires = excluded.expires, "
      "written = excluded.written, value = excluded.value"};
  for (const char* const change : changes) {
    session->put("k", "1", forever, PutMode::always);
    Database(path()).execute(change);
    EXPECT_EQ(get(*session, "k"), "2") << change;
    EXPECT_EQ(count("checksum IS NULL"), "1");
  }
  EXPECT_THAT(take_warnings(), IsEmpty());
}

TEST_F(SqliteChecksum, ManyProcessesMayAddTheColumnAtOnce) {
  make()->connect()->put("k", "v", forever, PutMode::always);
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    children.push_back(start_child([&] {
      const auto session = make({{"checksum", true}, {"busy_timeout", "30s"}})->connect();
      return session->put("p" + std::to_string(i), "v", forever, PutMode::always) &&
             get(*session, "k") == "v";
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(count("checksum IS NOT NULL"), "6");
}

}  // namespace
}  // namespace polycache::testing
