// The store "sqlite" without a registry: its file, its lifetimes and limits, its extensions,
// several processes at once, and what happens to files that are damaged, replaced or not ours.

#include "polycache/backends/sqlite.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "key_hash.h"
#include "patience.h"
#include "polycache/author/extension.h"
#include "polycache/author/fork_gate.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"
#include "support/sqlite_file.h"
#include "table.h"

namespace polycache {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::Database;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::make_factory;
using testing::ManualClock;
using ::testing::Not;
using testing::read_file;
using ::testing::SizeIs;
using testing::start_child;
using testing::TestContext;
using testing::wait_for;
using testing::write_file;

constexpr Ttl forever = Ttl::forever();

Ttl ms(std::int64_t count) { return Ttl(std::chrono::milliseconds(count)); }

std::optional<std::string> get(Backend& session, std::string_view key) {
  std::optional<std::string> result;
  const bool there = session.get(key, [&](std::string_view value) { result.emplace(value); });
  EXPECT_EQ(there, result.has_value());
  return result;
}

bool put(Backend& session, std::string_view key, std::string_view value, Ttl ttl = forever) {
  return session.put(key, value, ttl, PutMode::always);
}

bool add(Backend& session, std::string_view key, std::string_view value, Ttl ttl = forever) {
  return session.put(key, value, ttl, PutMode::if_absent);
}

bool contains(Backend& session, std::string_view key) {
  return session.contains(key, [](std::string_view) {});
}

template <class Extension>
Extension& extension(Backend& session) {
  return *static_cast<Extension*>(session.extension(Extension::id));
}

// A value and what is left of its life; no number is forever.
struct Entry {
  std::string value;
  std::optional<std::int64_t> left;
  Entry(std::string_view bytes, Ttl ttl) : value(bytes) {
    if (!ttl.is_forever()) left = ttl.value().count();
  }
  friend bool operator==(const Entry&, const Entry&) = default;
};

std::optional<Entry> get_with_ttl(Backend& session, std::string_view key) {
  std::optional<Entry> result;
  extension<TtlExtension>(session).get(
      key, [&](std::string_view value, Ttl left) { result.emplace(value, left); });
  return result;
}

// Every promise that does not depend on the place holds in a file and in memory.
class SqliteStore : public ::testing::TestWithParam<const char*> {
 protected:
  std::string location() const {
    return GetParam() == std::string_view("file") ? folder_.file("cache.db") : ":memory:test";
  }
  std::unique_ptr<BackendFactory> make(OptionMap options = {}) {
    return make_factory(sqlite::plugin, context_, {{location()}, std::move(options)});
  }

  testing::SqliteFolder folder_;
  ManualClock clock_;
  TestContext context_{clock_};
};

INSTANTIATE_TEST_SUITE_P(Places, SqliteStore, ::testing::Values("file", "memory"),
                         [](const auto& place) { return std::string(place.param); });

TEST_P(SqliteStore, KeepsWhatItIsGiven) {
  const auto factory = make();
  const auto session = factory->connect();
  const std::string bytes("\0\xff\x80 x\n", 6);
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  EXPECT_TRUE(put(*session, "k", "v"));
  EXPECT_TRUE(put(*session, "empty", ""));
  EXPECT_TRUE(put(*session, std::string_view("k\0z", 3), bytes));
  EXPECT_TRUE(put(*session, "large", std::string(1 << 20, 'x')));
  EXPECT_EQ(get(*session, "k"), "v");
  EXPECT_EQ(get(*session, "empty"), "");
  EXPECT_EQ(get(*session, std::string_view("k\0z", 3)), bytes);
  EXPECT_EQ(get(*session, "large"), std::string(1 << 20, 'x'));
  EXPECT_TRUE(put(*session, "k", "w"));
  EXPECT_EQ(get(*session, "k"), "w");
}

TEST_P(SqliteStore, SessionsOfOneLocationShareTheirEntries) {
  const auto one = make();
  const auto other = make();
  put(*one->connect(), "k", "v");
  EXPECT_EQ(get(*other->connect(), "k"), "v");
}

TEST_P(SqliteStore, PutHeedsItsMode) {
  const auto factory = make();
  const auto session = factory->connect();
  EXPECT_FALSE(session->put("k", "v", forever, PutMode::if_present));
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  EXPECT_TRUE(add(*session, "k", "first", ms(10)));
  EXPECT_FALSE(add(*session, "k", "second"));
  EXPECT_EQ(get(*session, "k"), "first");
  EXPECT_TRUE(session->put("k", "third", forever, PutMode::if_present));
  EXPECT_EQ(get(*session, "k"), "third");
  EXPECT_EQ(get_with_ttl(*session, "k")->left, std::nullopt);
}

TEST_P(SqliteStore, ExpiredIsAbsentForEveryOperation) {
  const auto factory = make();
  const auto session = factory->connect();
  const auto expired = [&] {
    put(*session, "k", "1", ms(50));
    clock_.advance(50ms);
    return std::string_view("k");
  };
  put(*session, "k", "1", ms(50));
  clock_.advance(49ms);
  EXPECT_EQ(get(*session, "k"), "1");  // never early
  EXPECT_EQ(get(*session, expired()), std::nullopt);
  EXPECT_FALSE(contains(*session, expired()));
  EXPECT_FALSE(session->touch(expired(), forever));
  EXPECT_FALSE(session->erase(expired()));
  EXPECT_EQ(session->erase_many(std::vector<std::string_view>{expired()}), 0U);
  EXPECT_EQ(session->incr(expired(), 1), std::nullopt);
  EXPECT_FALSE(session->put(expired(), "2", forever, PutMode::if_present));
  EXPECT_FALSE(extension<CompareExtension>(*session).put_if_equal(expired(), "1", "2", forever));
  EXPECT_FALSE(extension<CompareExtension>(*session).erase_if_equal(expired(), "1"));
  EXPECT_FALSE(extension<PopExtension>(*session).pop(expired(), [](std::string_view) {}));
  EXPECT_EQ(get_with_ttl(*session, expired()), std::nullopt);
  EXPECT_TRUE(add(*session, expired(), "2"));
  EXPECT_EQ(get(*session, "k"), "2");
}

TEST_P(SqliteStore, AMomentWithinAMillisecondEndsNoLifeEarly) {
  const auto factory = make();
  const auto session = factory->connect();
  clock_.advance(999us);
  put(*session, "k", "v", ms(1));
  clock_.advance(999us);
  EXPECT_EQ(get(*session, "k"), "v");
  clock_.advance(1ms);
  EXPECT_EQ(get(*session, "k"), std::nullopt);
}

TEST_P(SqliteStore, TheLongestLifeIsForever) {
  const auto factory = make();
  const auto session = factory->connect();
  put(*session, "k", "v", ms(INT64_MAX - 1));
  EXPECT_EQ(get(*session, "k"), "v");
  EXPECT_EQ(get_with_ttl(*session, "k")->left, std::nullopt);
}

TEST_P(SqliteStore, TouchGivesANewLife) {
  const auto factory = make();
  const auto session = factory->connect();
  EXPECT_FALSE(session->touch("k", forever));
  put(*session, "k", "v", ms(10));
  EXPECT_TRUE(session->touch("k", ms(1000)));
  clock_.advance(999ms);
  EXPECT_EQ(get_with_ttl(*session, "k")->left, 1);
  EXPECT_TRUE(session->touch("k", forever));
  EXPECT_TRUE(session->touch("k", forever));
  clock_.advance(24h);
  EXPECT_EQ(get(*session, "k"), "v");
}

TEST_P(SqliteStore, EraseAndClearRemove) {
  const auto factory = make();
  const auto session = factory->connect();
  put(*session, "a", "1");
  put(*session, "b", "2");
  EXPECT_TRUE(session->erase("a"));
  EXPECT_FALSE(session->erase("a"));
  EXPECT_EQ(get(*session, "b"), "2");
  session->clear();
  EXPECT_EQ(get(*session, "b"), std::nullopt);
  EXPECT_TRUE(put(*session, "b", "3"));
  EXPECT_EQ(get(*session, "b"), "3");
}

TEST_P(SqliteStore, ContainsHandsOutTheHeadOnly) {
  const auto factory = make();
  const auto session = factory->connect();
  std::string head = "untouched";
  const auto keep = [&](std::string_view bytes) { head = bytes; };
  EXPECT_FALSE(session->contains("k", keep));
  EXPECT_EQ(head, "untouched");
  put(*session, "k", std::string("\0b", 2));
  EXPECT_TRUE(session->contains("k", keep));
  EXPECT_EQ(head, std::string("\0b", 2));
  put(*session, "k", std::string(100'000, 'x'));
  EXPECT_TRUE(session->contains("k", keep));
  EXPECT_EQ(head, std::string(64, 'x'));
}

TEST_P(SqliteStore, IncrAddsAndKeepsTheLife) {
  const auto factory = make();
  const auto session = factory->connect();
  EXPECT_EQ(session->incr("n", 1), std::nullopt);
  EXPECT_FALSE(contains(*session, "n"));
  put(*session, "n", "41", ms(1000));
  clock_.advance(400ms);
  EXPECT_EQ(session->incr("n", 1), 42);
  EXPECT_EQ(session->incr("n", -50), -8);
  EXPECT_EQ(get_with_ttl(*session, "n"), Entry("-8", ms(600)));
}

TEST_P(SqliteStore, IncrRefusesWhatIsNoCounterAndChangesNothing) {
  const auto factory = make();
  const auto session = factory->connect();
  for (const std::string value :
       {"", "abc", "007", "-0", "+1", " 1", "1.5", "9223372036854775808"}) {
    put(*session, "n", value);
    EXPECT_THROW(session->incr("n", 1), ValueError) << value;
    EXPECT_EQ(get(*session, "n"), value);
  }
  put(*session, "n", "9223372036854775807");
  EXPECT_THROW(session->incr("n", 1), ValueError);
  EXPECT_EQ(get(*session, "n"), "9223372036854775807");
  EXPECT_EQ(session->incr("n", -1), INT64_MAX - 1);
  put(*session, "n", "-9223372036854775808");
  EXPECT_THROW(session->incr("n", -1), ValueError);
  EXPECT_EQ(session->incr("n", 0), INT64_MIN);
}

TEST_P(SqliteStore, BulkOperationsAnswerForEveryKey) {
  const auto factory = make();
  const auto session = factory->connect();
  const std::vector<Item> items{{"a", "1", forever}, {"b", "", ms(10)}, {"c", "3", forever}};
  session->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  std::map<std::size_t, std::string> found;
  const std::vector<std::string_view> keys{"c", "none", "b", "c"};
  session->get_many(keys, [&](std::size_t i, std::string_view value) { found[i] = value; });
  EXPECT_EQ(found, (std::map<std::size_t, std::string>{{0, "3"}, {2, ""}, {3, "3"}}));
  std::vector<std::size_t> failed;
  const std::vector<Item> more{{"a", "x", forever}, {"d", "y", forever}};
  session->put_many(more, PutMode::if_absent, [&](std::size_t i) { failed.push_back(i); });
  EXPECT_THAT(failed, ElementsAre(0));
  EXPECT_EQ(get(*session, "a"), "1");
  EXPECT_EQ(session->erase_many(keys), 2U);
  session->get_many({}, [](std::size_t, std::string_view) { FAIL(); });
  session->put_many({}, PutMode::always, [](std::size_t) { FAIL(); });
  EXPECT_EQ(session->erase_many({}), 0U);
}

TEST_P(SqliteStore, TtlExtensionReportsTheRemainingLifetime) {
  const auto factory = make();
  const auto session = factory->connect();
  put(*session, "short", "1", ms(500));
  put(*session, "long", "2");
  clock_.advance(100ms);
  const std::vector<std::string_view> keys{"short", "none", "long"};
  std::map<std::size_t, Entry> found;
  extension<TtlExtension>(*session).get_many(keys,
                                             [&](std::size_t i, std::string_view value, Ttl left) {
                                               found.emplace(i, Entry(value, left));
                                             });
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found.at(0), Entry("1", ms(400)));
  EXPECT_EQ(found.at(2), Entry("2", forever));
}

TEST_P(SqliteStore, CompareExtensionActsOnEqualBytesOnly) {
  const auto factory = make();
  const auto session = factory->connect();
  auto& compare = extension<CompareExtension>(*session);
  EXPECT_FALSE(compare.put_if_equal("k", "", "new", std::nullopt));
  EXPECT_FALSE(contains(*session, "k"));
  put(*session, "k", "", ms(1000));
  EXPECT_FALSE(compare.put_if_equal("k", "other", "new", std::nullopt));
  EXPECT_TRUE(compare.put_if_equal("k", "", "12", std::nullopt));
  EXPECT_EQ(get_with_ttl(*session, "k"), Entry("12", ms(1000)));
  EXPECT_TRUE(compare.put_if_equal("k", "12", "13", forever));
  EXPECT_EQ(get_with_ttl(*session, "k"), Entry("13", forever));
  EXPECT_FALSE(compare.erase_if_equal("k", "12"));
  EXPECT_TRUE(compare.erase_if_equal("k", "13"));
  EXPECT_FALSE(compare.erase_if_equal("k", "13"));
}

TEST_P(SqliteStore, PopReadsAndRemoves) {
  const auto factory = make();
  const auto session = factory->connect();
  auto& pop = extension<PopExtension>(*session);
  std::string value;
  const auto keep = [&](std::string_view bytes) {
    value = bytes;
    put(*factory->connect(), "nested", "1");  // a codec may use the store
  };
  EXPECT_FALSE(pop.pop("k", keep));
  put(*session, "k", "v");
  EXPECT_TRUE(pop.pop("k", keep));
  EXPECT_EQ(value, "v");
  EXPECT_FALSE(pop.pop("k", keep));
  EXPECT_EQ(get(*session, "nested"), "1");
}

TEST_P(SqliteStore, ErasePrefixComparesBytes) {
  const auto factory = make();
  const auto session = factory->connect();
  auto& prefixes = extension<ErasePrefixExtension>(*session);
  for (const std::string_view key :
       {"a", "a:1", "a:2", "A:1", "b:1", "\xff", "\xff\xff", "\xff\xff:x"}) {
    put(*session, key, "v");
  }
  put(*session, std::string_view("a:\0z", 4), "v");
  EXPECT_EQ(prefixes.erase_prefix(std::string_view("a:\0", 3)), 1U);
  EXPECT_EQ(prefixes.erase_prefix("a:"), 2U);
  EXPECT_TRUE(contains(*session, "a"));
  EXPECT_TRUE(contains(*session, "A:1"));
  EXPECT_EQ(prefixes.erase_prefix("\xff\xff"), 2U);
  EXPECT_TRUE(contains(*session, "\xff"));
  EXPECT_EQ(prefixes.erase_prefix("%"), 0U);
  EXPECT_EQ(prefixes.erase_prefix(""), 4U);
  EXPECT_EQ(prefixes.erase_prefix(""), 0U);
}

TEST_P(SqliteStore, ErasePrefixGoesThroughAllOfALargeStore) {
  const auto factory = make();
  const auto session = factory->connect();
  std::vector<std::string> keys;
  for (int i = 0; i < 10'000; ++i)
    keys.push_back((i % 2 == 0 ? "even:" : "odd:") + std::to_string(i));
  std::vector<Item> items;
  for (const std::string& key : keys) items.push_back({key, "v", forever});
  session->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  EXPECT_EQ(extension<ErasePrefixExtension>(*session).erase_prefix("even:"), 5'000U);
  EXPECT_EQ(extension<ErasePrefixExtension>(*session).erase_prefix("odd:"), 5'000U);
}

TEST_P(SqliteStore, ASinkMayUseTheStoreThroughAnotherSession) {
  const auto factory = make();
  const auto session = factory->connect();
  const auto nested = factory->connect();
  put(*session, "a", "1");
  put(*session, "b", "2");
  const auto use = [&](std::string_view value) {
    EXPECT_TRUE(put(*nested, "copy", value));
    EXPECT_TRUE(nested->erase("copy"));
    nested->touch("a", forever);
  };
  EXPECT_TRUE(session->get("a", use));
  EXPECT_TRUE(session->contains("a", use));
  const std::vector<std::string_view> keys{"a", "b"};
  int calls = 0;
  session->get_many(keys, [&](std::size_t, std::string_view value) {
    use(value);
    ++calls;
  });
  EXPECT_EQ(calls, 2);
  const std::vector<Item> items{{"a", "x", forever}};
  session->put_many(items, PutMode::if_absent, [&](std::size_t) { use("x"); });
}

TEST_P(SqliteStore, AValueThatIsTooLargeIsRefusedAndTheOldOneIsGone) {
  const auto factory = make({{"max_value_bytes", std::int64_t{10}}});
  const auto session = factory->connect();
  const std::string large(11, 'x');
  EXPECT_TRUE(put(*session, "k", std::string(10, 'x')));
  EXPECT_FALSE(add(*session, "k", large));
  EXPECT_TRUE(contains(*session, "k"));
  EXPECT_FALSE(put(*session, "k", large));
  EXPECT_FALSE(contains(*session, "k"));
  EXPECT_THAT(context_.warnings(),
              ElementsAre(HasSubstr("11 bytes"), HasSubstr("max_value_bytes")));
  put(*session, "b", "old");
  const std::vector<Item> items{{"a", "1", forever}, {"b", large, forever}, {"c", "3", forever}};
  std::vector<std::size_t> failed;
  session->put_many(items, PutMode::always, [&](std::size_t i) { failed.push_back(i); });
  EXPECT_THAT(failed, ElementsAre(1));
  EXPECT_EQ(get(*session, "a"), "1");
  EXPECT_FALSE(contains(*session, "b"));
  EXPECT_EQ(get(*session, "c"), "3");
}

// --- max_entries ---

std::size_t count_live(Backend& session, int keys) {
  std::size_t live = 0;
  for (int i = 0; i < keys; ++i) live += contains(session, "k" + std::to_string(i)) ? 1 : 0;
  return live;
}

TEST_P(SqliteStore, MaxEntriesRemovesTheOldestWritten) {
  const auto factory = make({{"max_entries", std::int64_t{10}}});
  const auto session = factory->connect();
  for (int i = 0; i < 30; ++i) {
    put(*session, "k" + std::to_string(i), "v");
    EXPECT_EQ(get(*session, "k" + std::to_string(i)), "v");
    EXPECT_LE(count_live(*session, 30), 10U);
  }
  for (int i = 20; i < 30; ++i) EXPECT_TRUE(contains(*session, "k" + std::to_string(i))) << i;
  put(*session, "k20", "again");  // is the youngest now; overwriting needs no room
  EXPECT_EQ(count_live(*session, 30), 10U);
  put(*session, "new", "v");
  EXPECT_TRUE(contains(*session, "k20"));
  EXPECT_FALSE(contains(*session, "k21"));
}

TEST_P(SqliteStore, MaxEntriesRemovesExpiredOnesFirst) {
  const auto factory = make({{"max_entries", std::int64_t{10}}});
  const auto session = factory->connect();
  for (int i = 0; i < 10; ++i)
    put(*session, "k" + std::to_string(i), "v", i < 5 ? forever : ms(10));
  clock_.advance(10ms);
  for (int i = 10; i < 15; ++i) put(*session, "k" + std::to_string(i), "v");
  EXPECT_EQ(count_live(*session, 15), 10U);
  EXPECT_TRUE(contains(*session, "k0"));
}

TEST_P(SqliteStore, MaxEntriesHoldsForBulkWritesAndOverThreads) {
  const auto factory = make({{"max_entries", std::int64_t{100}}, {"busy_timeout", "20s"}});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto session = factory->connect();
      for (int i = t; i < 800; i += 4) add(*session, "k" + std::to_string(i), "v");
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto session = factory->connect();
  EXPECT_LE(count_live(*session, 800), 100U);
  EXPECT_GE(count_live(*session, 800), 90U);
  std::vector<std::string> keys;
  for (int i = 0; i < 300; ++i) keys.push_back("b" + std::to_string(i));
  std::vector<Item> items;
  for (const std::string& key : keys) items.push_back({key, "v", forever});
  session->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  std::size_t live = count_live(*session, 800);
  for (const std::string& key : keys) live += contains(*session, key) ? 1 : 0;
  EXPECT_LE(live, 100U);
  EXPECT_GE(live, 90U);
  EXPECT_TRUE(contains(*session, "b299"));
}

TEST_P(SqliteStore, ThreadsAndTheirCounterAgree) {
  const auto factory = make({{"busy_timeout", "20s"}});
  put(*factory->connect(), "n", "0");
  std::atomic<int> added{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      const auto session = factory->connect();
      for (int i = 0; i < 100; ++i) {
        session->incr("n", 1);
        added += add(*session, "once" + std::to_string(i), "v") ? 1 : 0;
        EXPECT_TRUE(contains(*session, "n"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(get(*factory->connect(), "n"), "800");
  EXPECT_EQ(added, 100);
}

// --- in memory ---

TEST(SqliteMemory, LivesAsLongAsItsLocationIsKnown) {
  ManualClock clock;
  TestContext context(clock);
  const auto one = make_factory(sqlite::plugin, context, {{":memory:"}, {}});
  put(*one->connect(), "k", "v");
  EXPECT_EQ(get(*one->connect(), "k"), "v");
  const auto other = make_factory(sqlite::plugin, context, {{":memory:other"}, {}});
  EXPECT_EQ(get(*other->connect(), "k"), std::nullopt);
  const auto same = make_factory(sqlite::db_plugin, context, {{":memory:"}, {}});
  EXPECT_EQ(get(*same->connect(), "k"), "v");
}

TEST(SqliteMemory, RegistriesWithTheirOwnClocksDoNotMeet) {
  ManualClock clock;
  ManualClock other_clock;
  TestContext context(clock);
  TestContext other_context(other_clock);
  const auto one = make_factory(sqlite::plugin, context, {{":memory:"}, {}});
  const auto other = make_factory(sqlite::plugin, other_context, {{":memory:"}, {}});
  put(*one->connect(), "k", "v");
  EXPECT_EQ(get(*other->connect(), "k"), std::nullopt);
}

TEST(SqliteMemory, AForkedChildBeginsEmptyAndWorks) {
  TestContext context;
  const auto factory = make_factory(sqlite::plugin, context, {{":memory:"}, {}});
  const auto session = factory->connect();
  put(*session, "k", "v");
  const pid_t child = start_child([&] {
    return !contains(*session, "k") && put(*session, "k", "child") &&
           get(*session, "k") == "child" && get(*factory->connect(), "k") == "child";
  });
  EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(get(*session, "k"), "v");
}

// --- files ---

class SqliteFile : public ::testing::Test {
 protected:
  std::unique_ptr<BackendFactory> make(OptionMap options = {}) {
    return make_factory(sqlite::plugin, context_, {{path_}, std::move(options)});
  }

  testing::SqliteFolder folder_;
  std::string path_ = folder_.file("cache.db");
  ManualClock clock_;
  TestContext context_{clock_};
};

TEST_F(SqliteFile, IsMadeAtFirstUseAndNotBefore) {
  const auto factory = make();
  const auto session = factory->connect();
  EXPECT_THAT(folder_.names(), IsEmpty());
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  EXPECT_TRUE(fs::exists(path_));
}

TEST_F(SqliteFile, OutlivesItsSessionsAndItsFactory) {
  put(*make()->connect(), "k", "v", ms(1000));
  clock_.advance(999ms);
  EXPECT_EQ(get(*make()->connect(), "k"), "v");
  clock_.advance(1ms);
  EXPECT_EQ(get(*make()->connect(), "k"), std::nullopt);
}

TEST_F(SqliteFile, HasItsApplicationIdAndASchemaOfPlainColumns) {
  put(*make()->connect(), "k", "v");
  Database database(path_);
  EXPECT_EQ(database.text("PRAGMA application_id"), std::to_string(0x706c7963));
  EXPECT_EQ(database.text("PRAGMA user_version"), "1");
  EXPECT_EQ(database.text("PRAGMA journal_mode"), "wal");
  EXPECT_EQ(database.text("SELECT typeof(key) || typeof(value) FROM cache"), "blobblob");
}

TEST_F(SqliteFile, TablesHaveTheirOwnEntriesAndAnyName) {
  const auto plain = make();
  const auto odd = make({{"table", "it's \"odd\"; DROP TABLE cache"}});
  put(*plain->connect(), "k", "plain");
  put(*odd->connect(), "k", "odd");
  EXPECT_EQ(get(*plain->connect(), "k"), "plain");
  EXPECT_EQ(get(*odd->connect(), "k"), "odd");
  odd->connect()->clear();
  EXPECT_EQ(get(*plain->connect(), "k"), "plain");
}

// Among them names that mean something to SQLite, or that the store itself uses in SQL.
TEST_F(SqliteFile, AnyNameOfATableKeepsItsEntriesApart) {
  const std::vector<std::string> names = {"cache",    "cache_written", "cache_written_written",
                                          "CACHE2",   "excluded",      "kept",
                                          "new",      "old",           "id",
                                          "rowid",    "value",         "expires",
                                          "select",   "main.x",        "temp",
                                          "sqlite",   "polycache",     "pragma_table_info",
                                          "x y",      "dbstat",        "\xc3\x84",
                                          "\xc3\xa4", "json_each",     "main",
                                          "'"};
  const std::vector<OptionMap> all_options = {
      {},
      {{"max_entries", std::int64_t{100}}},
      {{"checksum", true}},
      {{"checksum", true}, {"max_entries", std::int64_t{100}}}};
  for (OptionMap options : all_options) {
    const bool first = options.empty();
    for (const std::string& name : names) {
      options["table"] = name;
      const auto session = make(options)->connect();
      SCOPED_TRACE(name);
      EXPECT_EQ(get(*session, "k"), first ? std::nullopt : std::optional(name));
      EXPECT_TRUE(put(*session, "k", "first"));
      EXPECT_FALSE(add(*session, "k", "second"));
      EXPECT_TRUE(put(*session, "k", "n"));
      EXPECT_TRUE(session->touch("k", forever));
      EXPECT_TRUE(extension<CompareExtension>(*session).put_if_equal("k", "n", name, forever));
      EXPECT_TRUE(add(*session, "short", "1", ms(1)));
      clock_.advance(1ms);
      EXPECT_TRUE(add(*session, "short", "2"));
      EXPECT_EQ(get(*session, "short"), "2");
      EXPECT_TRUE(session->erase("short"));
    }
    for (const std::string& name : names) {
      EXPECT_EQ(get(*make({{"table", name}})->connect(), "k"), name);
    }
  }
}

TEST_F(SqliteFile, ATableNamedLikeTheIndexOfAnotherHasItsOwnEntries) {
  const OptionMap limited = {{"max_entries", std::int64_t{10}}, {"eviction_order", "exact"}};
  const OptionMap like_its_index = {{"table", "Cache_Written"}};
  for (const bool index_first : {true, false}) {
    fs::remove(path_);
    TestContext context(clock_);
    const auto session_with = [&](const OptionMap& options) {
      return make_factory(sqlite::plugin, context, {{path_}, options})->connect();
    };
    const auto first = session_with(index_first ? limited : like_its_index);
    put(*first, "k", "first");
    const auto second = session_with(index_first ? like_its_index : limited);
    EXPECT_EQ(get(*second, "k"), std::nullopt);
    EXPECT_TRUE(put(*second, "k", "second"));
    EXPECT_EQ(get(*first, "k"), "first");
    // There is one index, which makes room fast, before and after another opening.
    put(*session_with(limited), "x", "y");
    EXPECT_EQ(Database(path_).text("SELECT group_concat(tbl_name) FROM sqlite_master WHERE type = "
                                   "'index' AND name NOT LIKE 'sqlite_%'"),
              "cache");
  }
}

TEST_F(SqliteFile, TablesThatDifferInCaseOnlyAreRefusedAtStart) {
  const auto lower = make();
  try {
    make({{"table", "Cache"}});
    ADD_FAILURE() << "two names of one table were accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("options.table"));
    EXPECT_THAT(error.what(), HasSubstr("\"cache\" of the alias \"test\""));
  }
  EXPECT_NO_THROW(make());
  EXPECT_NO_THROW(
      make_factory(sqlite::plugin, context_, {{folder_.file("other.db")}, {{"table", "Cache"}}}));
  const auto memory = make_factory(sqlite::plugin, context_, {{":memory:case"}, {}});
  EXPECT_THROW(make_factory(sqlite::plugin, context_, {{":memory:case"}, {{"table", "CACHE"}}}),
               ConfigError);
}

// Of which this process knows nothing at start.
TEST_F(SqliteFile, ATableThatTheFileSpellsInAnotherCaseIsNotShared) {
  put(*make()->connect(), "k", "v");
  TestContext of_another_process(clock_);
  const auto factory =
      make_factory(sqlite::plugin, of_another_process, {{path_}, {{"table", "Cache"}}});
  const auto session = factory->connect();
  try {
    put(*session, "k", "w");
    ADD_FAILURE() << "two names of one table were used";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::storage);
    EXPECT_THAT(error.what(), HasSubstr("a table \"cache\""));
  }
  EXPECT_THROW(get(*session, "k"), BackendError);
  EXPECT_EQ(get(*make()->connect(), "k"), "v");
}

TEST_F(SqliteFile, AKeyWithTheHashOfAnotherIsNotTakenForIt) {
  const auto factory = make({{"max_entries", std::int64_t{10}}});
  const auto session = factory->connect();
  put(*session, "k", "1");
  // As if "other" were there and had the hash of "k".
  Database(path_).execute("UPDATE cache SET key = CAST('other' AS BLOB)");
  const auto other_is_there = [&] {
    return Database(path_).text("SELECT count(*) FROM cache WHERE key = CAST('other' AS BLOB)") ==
           "1";
  };
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  EXPECT_FALSE(contains(*session, "k"));
  EXPECT_FALSE(session->touch("k", forever));
  EXPECT_EQ(session->incr("k", 1), std::nullopt);
  EXPECT_FALSE(session->erase("k"));
  EXPECT_FALSE(session->put("k", "2", forever, PutMode::if_present));
  EXPECT_FALSE(extension<CompareExtension>(*session).put_if_equal("k", "1", "2", forever));
  EXPECT_FALSE(extension<CompareExtension>(*session).erase_if_equal("k", "1"));
  EXPECT_FALSE(extension<PopExtension>(*session).pop("k", [](std::string_view) {}));
  EXPECT_TRUE(other_is_there());
  EXPECT_TRUE(add(*session, "k", "2"));  // pushes the other one out
  EXPECT_EQ(get(*session, "k"), "2");
  EXPECT_FALSE(other_is_there());
  Database(path_).execute("UPDATE cache SET key = CAST('other' AS BLOB)");
  EXPECT_TRUE(put(*session, "k", "3"));
  EXPECT_EQ(get(*session, "k"), "3");
  EXPECT_EQ(Database(path_).text("SELECT count(*) FROM cache"), "1");
}

TEST_F(SqliteFile, WritesRemoveExpiredRows) {
  const auto factory = make();
  const auto session = factory->connect();
  for (int i = 0; i < 500; ++i) put(*session, "old" + std::to_string(i), "v", ms(10));
  clock_.advance(1s);
  for (int i = 0; i < 500; ++i) put(*session, "new" + std::to_string(i), "v");
  EXPECT_LE(std::stoi(Database(path_).text("SELECT count(*) FROM cache")), 520);
  EXPECT_EQ(get(*session, "new0"), "v");
}

TEST_F(SqliteFile, LocationsThatCannotBeAreRefusedAndUntouched) {
  const auto problem = [&](const std::vector<std::string>& location, OptionMap options = {}) {
    try {
      make_factory(sqlite::plugin, context_, {location, std::move(options)});
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  EXPECT_THAT(problem({}), HasSubstr("expected one file"));
  EXPECT_THAT(problem({path_, path_}), HasSubstr("expected one file"));
  EXPECT_THAT(problem({folder_.file("none/cache.db")}), HasSubstr("does not exist"));
  EXPECT_THAT(problem({fs::path(path_).parent_path()}), HasSubstr("is a folder"));
  EXPECT_THAT(problem({"file:/tmp/x"}), HasSubstr("not a URL"));
  EXPECT_THAT(problem({"/dev/null"}), HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo(folder_.file("fifo").c_str(), 0600), 0);
  EXPECT_THAT(problem({folder_.file("fifo")}), HasSubstr("not a regular file"));
  EXPECT_THAT(problem({path_}, {{"table", ""}}), HasSubstr("options.table"));
  EXPECT_THAT(problem({path_}, {{"table", "sqlite_master"}}), HasSubstr("reserved"));
  EXPECT_THAT(problem({path_}, {{"table", "polycache_meta"}}), HasSubstr("reserved"));
  EXPECT_THAT(problem({path_}, {{"max_entries", std::int64_t{0}}}),
              HasSubstr("options.max_entries"));
  EXPECT_THAT(problem({path_}, {{"synchronous", "never"}}), HasSubstr("\"normal\""));
  EXPECT_THAT(problem({path_}, {{"busy_timeout", "soon"}}), HasSubstr("duration"));
  EXPECT_THAT(problem({path_}, {{"tabel", "x"}}), HasSubstr("did you mean \"table\""));
  EXPECT_EQ(problem({path_}), "none");
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(SqliteFile, AFileThatIsNotOursIsRefusedAndStaysAsItIs) {
  const std::string text = folder_.file("notes.txt");
  write_file(text, std::string(5000, 'n'));
  const std::string foreign = folder_.file("foreign.db");
  { Database(foreign).execute("CREATE TABLE cache(id INTEGER PRIMARY KEY, key, value)"); }
  const std::string tiny = folder_.file("tiny");
  write_file(tiny, "x");
  const std::string cut = folder_.file("cut.db");
  write_file(cut, read_file(foreign).substr(0, 99));
  const auto names = folder_.names();
  for (const std::string& file : {text, foreign, tiny, cut}) {
    const std::string before = read_file(file);
    try {
      make_factory(sqlite::plugin, context_, {{file}, {}});
      ADD_FAILURE() << file << " was accepted";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("not changed"));
      EXPECT_THAT(error.what(), HasSubstr(file));
    }
    EXPECT_EQ(read_file(file), before);
  }
  EXPECT_EQ(folder_.names(), names);
}

TEST_F(SqliteFile, AForeignFileThatAppearsBeforeTheFirstUseIsRefusedToo) {
  const auto factory = make();
  const auto session = factory->connect();
  { Database(path_).execute("CREATE TABLE important(x)"); }
  const std::string before = read_file(path_);
  EXPECT_THROW(get(*session, "k"), BackendError);
  EXPECT_THROW(put(*session, "k", "v"), BackendError);
  EXPECT_EQ(read_file(path_), before);
  fs::remove(path_);
  EXPECT_TRUE(put(*session, "k", "v"));
}

TEST_F(SqliteFile, ANewerSchemaIsRefusedAndStaysAsItIs) {
  const auto factory = make();
  put(*factory->connect(), "k", "v");
  { Database(path_).execute("PRAGMA user_version=3"); }
  const std::string before = read_file(path_);
  EXPECT_THROW(make(), ConfigError);
  EXPECT_THROW(put(*factory->connect(), "k", "w"), BackendError);
  EXPECT_EQ(read_file(path_), before);
}

TEST_F(SqliteFile, ADeletedFileIsMadeAnew) {
  const auto factory = make();
  const auto session = factory->connect();
  put(*session, "k", "v");
  for (const char* const tail : {"", "-wal", "-shm"}) fs::remove(path_ + tail);
  clock_.advance(1s);
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  EXPECT_TRUE(put(*session, "k", "new"));
  EXPECT_TRUE(fs::exists(path_));
  EXPECT_EQ(get(*make()->connect(), "k"), "new");
}

TEST_F(SqliteFile, AReplacedFileIsTaken) {
  const auto factory = make();
  const auto session = factory->connect();
  put(*session, "k", "old");
  const auto other = make_factory(sqlite::plugin, context_, {{folder_.file("other.db")}, {}});
  put(*other->connect(), "k", "new");
  fs::rename(folder_.file("other.db"), path_);
  for (const char* const tail : {"-wal", "-shm"}) fs::remove(path_ + tail);
  clock_.advance(1s);
  EXPECT_EQ(get(*session, "k"), "new");
}

// --- damage ---

// Spoils every page but the first, where our mark is.
void damage(const std::string& path) {
  std::string bytes = read_file(path);
  ASSERT_GT(bytes.size(), 8192U);
  std::fill(bytes.begin() + 4096, bytes.end(), '\x5a');
  write_file(path, bytes);
}

std::vector<std::string> moved_aside(const testing::SqliteFolder& folder) {
  std::vector<std::string> moved;
  for (const std::string& name : folder.names()) {
    const bool database = !name.ends_with("-wal") && !name.ends_with("-shm");
    if (database && name.find(".damaged-") != std::string::npos) moved.push_back(name);
  }
  return moved;
}

TEST_F(SqliteFile, ADamagedFileOfOursIsMovedAsideAndTheCacheBeginsEmpty) {
  {
    const auto factory = make();
    const auto session = factory->connect();
    for (int i = 0; i < 200; ++i) put(*session, "k" + std::to_string(i), std::string(100, 'v'));
  }
  damage(path_);
  const std::string damaged = read_file(path_);
  const auto factory = make();
  const auto session = factory->connect();
  EXPECT_EQ(get(*session, "k1"), std::nullopt);
  EXPECT_TRUE(put(*session, "k1", "new"));
  EXPECT_EQ(get(*session, "k1"), "new");
  const auto moved = moved_aside(folder_);
  ASSERT_THAT(moved, SizeIs(1));
  EXPECT_EQ(read_file(folder_.file(moved[0])), damaged);
  EXPECT_THAT(context_.warnings(), ElementsAre(HasSubstr(moved[0])));
  EXPECT_FALSE(fs::exists(path_ + "-lock"));
}

TEST_F(SqliteFile, AFileOfOursWithoutItsMagicIsDamagedToo) {
  put(*make()->connect(), "k", "v");
  std::string bytes = read_file(path_);
  bytes.replace(0, 16, "garbage garbage ");
  write_file(path_, bytes);
  EXPECT_EQ(get(*make()->connect(), "k"), std::nullopt);
  EXPECT_THAT(moved_aside(folder_), SizeIs(1));
}

// Nothing in it says that it was ours.
TEST_F(SqliteFile, AStoreWhoseFirstPageIsZeroedIsRefusedWithWhatToDo) {
  put(*make()->connect(), "k", std::string(20'000, 'v'));
  std::string bytes = read_file(path_);
  std::fill_n(bytes.begin(), 4096, '\0');
  write_file(path_, bytes);
  try {
    make();
    ADD_FAILURE() << "a file of zeros was accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("remove it with its -wal and -shm"));
  }
  EXPECT_EQ(read_file(path_), bytes);
  fs::remove(path_);
  EXPECT_TRUE(put(*make()->connect(), "k", "v"));
}

TEST_F(SqliteFile, ATruncatedFileOfOursIsDamagedToo) {
  {
    const auto factory = make();
    const auto session = factory->connect();
    for (int i = 0; i < 200; ++i) put(*session, "k" + std::to_string(i), std::string(100, 'v'));
  }
  fs::resize_file(path_, 5000);
  EXPECT_EQ(get(*make()->connect(), "k1"), std::nullopt);
  EXPECT_TRUE(put(*make()->connect(), "k1", "new"));
  EXPECT_THAT(moved_aside(folder_), SizeIs(1));
}

TEST_F(SqliteFile, OnCorruptThrowLeavesADamagedFileWhereItIs) {
  {
    const auto factory = make();
    const auto session = factory->connect();
    for (int i = 0; i < 200; ++i) put(*session, "k" + std::to_string(i), std::string(100, 'v'));
  }
  damage(path_);
  const auto factory = make({{"on_corrupt", "throw"}});
  const auto session = factory->connect();
  for (int i = 0; i < 2; ++i) {
    try {
      get(*session, "k1");
      ADD_FAILURE() << "read from a damaged file";
    } catch (const BackendError& error) {
      EXPECT_EQ(error.kind(), BackendError::Kind::storage);
    }
  }
  EXPECT_THAT(moved_aside(folder_), IsEmpty());
  EXPECT_THAT(context_.warnings(), IsEmpty());
}

TEST_F(SqliteFile, ManyThreadsThatMeetADamagedFileMoveItOnce) {
  {
    const auto factory = make();
    const auto session = factory->connect();
    for (int i = 0; i < 200; ++i) put(*session, "k" + std::to_string(i), std::string(100, 'v'));
  }
  damage(path_);
  const auto factory = make({{"busy_timeout", "20s"}});
  std::vector<std::thread> threads;
  std::atomic<int> stored{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const auto session = factory->connect();
      stored += put(*session, "t" + std::to_string(t), "v") ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(stored, 8);
  EXPECT_THAT(moved_aside(folder_), SizeIs(1));
  EXPECT_THAT(context_.warnings(), SizeIs(1));
}

TEST_F(SqliteFile, ManyProcessesThatMeetADamagedFileMoveItOnce) {
  constexpr int process_count = 6;
  {
    const auto factory = make();
    const auto session = factory->connect();
    for (int i = 0; i < 200; ++i) put(*session, "k" + std::to_string(i), std::string(100, 'v'));
  }
  damage(path_);
  int start[2];
  ASSERT_EQ(::pipe(start), 0);
  std::vector<pid_t> children;
  for (int p = 0; p < process_count; ++p) {
    children.push_back(start_child([&, p] {
      ::close(start[1]);
      const auto factory = make({{"busy_timeout", "20s"}});
      const auto session = factory->connect();
      char byte = 0;
      if (::read(start[0], &byte, 1) != 0) return false;
      return put(*session, "p" + std::to_string(p), "v");
    }));
  }
  ::close(start[0]);
  ::close(start[1]);  // off they go
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_THAT(moved_aside(folder_), SizeIs(1));
  const auto factory = make();
  const auto session = factory->connect();
  for (int p = 0; p < process_count; ++p) EXPECT_TRUE(contains(*session, "p" + std::to_string(p)));
}

// --- busy, read-only ---

TEST_F(SqliteFile, ABusyFileIsWaitedForUpToTheLimitAndIsReadMeanwhile) {
  const auto factory = make({{"busy_timeout", "50ms"}});
  const auto session = factory->connect();
  put(*session, "k", "v");
  Database other(path_);
  other.execute("BEGIN IMMEDIATE");
  const auto start = std::chrono::steady_clock::now();
  try {
    put(*session, "k", "w");
    ADD_FAILURE() << "wrote into a locked file";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::overloaded);
    EXPECT_THAT(error.what(), HasSubstr("busy_timeout"));
  }
  EXPECT_THROW(session->incr("k", 1), BackendError);
  const auto waited = std::chrono::steady_clock::now() - start;
  EXPECT_GE(waited, 100ms);
  EXPECT_LT(waited, 60s);
  EXPECT_EQ(get(*session, "k"), "v");
  other.execute("COMMIT");
  EXPECT_TRUE(put(*session, "k", "w"));
}

TEST_F(SqliteFile, AWriteWaitsForAnotherProcess) {
  const auto factory = make({{"busy_timeout", "20s"}});
  const auto session = factory->connect();
  put(*session, "n", "1");
  Database other(path_);
  other.execute("BEGIN IMMEDIATE");
  std::thread writer([&] { EXPECT_EQ(session->incr("n", 1), 2); });
  std::this_thread::sleep_for(20ms);  // so that it meets the lock, most of the time
  other.execute("COMMIT");
  writer.join();
}

TEST_F(SqliteFile, AReadOnlyFileIsReadAndSaysSo) {
  put(*make()->connect(), "k", "v");
  // The permissions of a file mean nothing to root, those of a query-only connection do.
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(path_.c_str(), 65534, 65534), 0);
    fs::permissions(path_, fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
    fs::permissions(fs::path(path_).parent_path(), fs::perms::all);
  } else {
    fs::permissions(path_, fs::perms::owner_read);
  }
  const pid_t child = start_child([&] {
    if (::geteuid() == 0 && ::setuid(65533) != 0) return false;
    const OptionMap limited{{"max_entries", std::int64_t{10}}, {"eviction_order", "exact"}};
    for (const OptionMap& options : {OptionMap{}, limited}) {  // which would change the file
      const auto factory = make(options);
      const auto session = factory->connect();
      if (get(*session, "k") != "v") return false;
      try {
        put(*session, "k", "w");
        return false;
      } catch (const BackendError& error) {
        if (error.kind() != BackendError::Kind::read_only) return false;
      }
      if (get(*session, "k") != "v") return false;
    }
    return true;
  });
  EXPECT_EQ(wait_for(child), 0);
}

// --- several processes ---

TEST_F(SqliteFile, ProcessesCountTogether) {
  constexpr int process_count = 4;
  constexpr int times_each = 150;
  std::vector<pid_t> children;
  for (int p = 0; p < process_count; ++p) {
    children.push_back(start_child([&] {  // they make the file together, too
      const auto factory = make({{"busy_timeout", "30s"}});
      const auto session = factory->connect();
      add(*session, "n", "0");
      for (int i = 0; i < times_each; ++i) session->incr("n", 1);
      return true;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(get(*make()->connect(), "n"), std::to_string(process_count * times_each));
}

TEST_F(SqliteFile, OneOfSeveralProcessesPopsAndAdds) {
  constexpr int process_count = 4;
  constexpr int key_count = 50;
  {
    const auto factory = make();
    const auto session = factory->connect();
    for (int i = 0; i < key_count; ++i) put(*session, "pop" + std::to_string(i), "v");
    put(*session, "popped", "0");
    put(*session, "added", "0");
  }
  std::vector<pid_t> children;
  for (int p = 0; p < process_count; ++p) {
    children.push_back(start_child([&] {
      const auto factory = make({{"busy_timeout", "30s"}});
      const auto session = factory->connect();
      for (int i = 0; i < key_count; ++i) {
        const std::string tail = std::to_string(i);
        if (extension<PopExtension>(*session).pop("pop" + tail, [](std::string_view) {})) {
          session->incr("popped", 1);
        }
        if (add(*session, "add" + tail, "v")) session->incr("added", 1);
      }
      return true;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(get(*make()->connect(), "popped"), std::to_string(key_count));
  EXPECT_EQ(get(*make()->connect(), "added"), std::to_string(key_count));
}

TEST_F(SqliteFile, AForkedChildOpensItsOwnConnection) {
  const auto factory = make({{"busy_timeout", "20s"}});
  auto session = factory->connect();
  put(*session, "n", "1");
  const pid_t child = start_child([&] {
    for (int i = 0; i < 50; ++i) session->incr("n", 1);
    const bool right = contains(*session, "n");
    session.reset();
    return right;
  });
  for (int i = 0; i < 50; ++i) session->incr("n", 1);
  EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(get(*session, "n"), "101");
  EXPECT_EQ(Database(path_).text("PRAGMA integrity_check"), "ok");
}

// How a parent ends that has forked a child.
enum class Ending { closes, exits };

// A child that outlives its parent keeps the log alive, although other processes come and go:
// neither locks nor what SQLite knows of them may be the parent's.
class SqliteOrphan : public SqliteFile, public ::testing::WithParamInterface<Ending> {
 protected:
  // Adds one, lets others use the file, and adds one again.
  bool count_with_a_pause(Backend& session) {
    if (session.incr("n", 1) != 2) return false;
    if (::write(to_us_[1], "a", 1) != 1 || ::read(to_child_[0], &byte_, 1) != 1) return false;
    const bool right = session.incr("n", 1) == 3;
    return ::write(to_us_[1], right ? "y" : "n", 1) == 1;
  }

  void SetUp() override {
    ASSERT_EQ(::pipe(to_child_), 0);
    ASSERT_EQ(::pipe(to_us_), 0);
    ASSERT_EQ(::pipe(parent_is_gone_), 0);
  }
  void TearDown() override {
    for (const int end : {to_child_[0], to_child_[1], to_us_[0], parent_is_gone_[0]}) ::close(end);
  }

  int to_child_[2];
  int to_us_[2];
  int parent_is_gone_[2];
  char byte_ = 'x';
};

INSTANTIATE_TEST_SUITE_P(Parents, SqliteOrphan, ::testing::Values(Ending::closes, Ending::exits),
                         [](const auto& ending) {
                           return ending.param == Ending::closes ? "Closes" : "Exits";
                         });

TEST_P(SqliteOrphan, HasLocksOfItsOwn) {
  const pid_t parent = start_child([&] {
    const auto factory = make();
    const auto session = factory->connect();
    // Of another thread, as the child must assume, which cannot close it.
    const auto other = GetParam() == Ending::exits ? factory->connect() : nullptr;
    if (other) put(*other, "o", "1");
    put(*session, "n", "1");
    const pid_t child = start_child([&] {
      ::close(parent_is_gone_[1]);
      if (::read(parent_is_gone_[0], &byte_, 1) != 0) return false;
      return count_with_a_pause(*session);
    });
    if (GetParam() == Ending::exits) ::_exit(child > 0 ? 0 : 1);
    return child > 0;  // closes
  });
  EXPECT_EQ(wait_for(parent), 0);
  ::close(parent_is_gone_[1]);
  ::close(to_us_[1]);
  ASSERT_EQ(::read(to_us_[0], &byte_, 1), 1);
  EXPECT_EQ(get(*make()->connect(), "n"), "2");  // opens the file and closes it
  EXPECT_TRUE(fs::exists(path_ + "-wal"));       // which the last one to close removes
  ASSERT_EQ(::write(to_child_[1], "b", 1), 1);
  ASSERT_EQ(::read(to_us_[0], &byte_, 1), 1);
  EXPECT_EQ(byte_, 'y');
  EXPECT_EQ(get(*make()->connect(), "n"), "3");
}

// A disk that hangs must not hang a fork for ever.
TEST_F(SqliteFile, AForkGoesOnWithoutAThreadThatDoesNotComeOutOfSqlite) {
  const auto factory = make();
  const auto session = factory->connect();
  put(*session, "k", "v");
  std::atomic<bool> is_inside{false};
  std::atomic<bool> may_leave{false};
  std::thread hanging([&] {
    const auto pass =
        std::make_unique<ForkPass>([](void*, ForkPass::Inherited) noexcept {}, nullptr);
    const ForkGuard entered(*pass);
    is_inside = true;
    while (!may_leave) std::this_thread::sleep_for(1ms);
  });
  while (!is_inside) std::this_thread::yield();
  const pid_t child = start_child([&] {
    ::alarm(100);
    try {
      get(*session, "k");
    } catch (const BackendError& error) {
      return std::string_view(error.what()).find("ten seconds") != std::string_view::npos;
    }
    return false;
  });
  may_leave = true;
  hanging.join();
  EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(get(*session, "k"), "v");
}

// --- key rules ---

class PickyFactory : public sqlite::Factory {
 public:
  PickyFactory(const OptionReader& options, const BackendContext& context)
      : Factory(options, context, KeyRules::custom) {}
  void validate_key(std::string_view final_key,
                    FunctionRef<void(std::string_view)>) const override {
    if (final_key.empty()) throw InvalidKey("empty");
  }
};

std::unique_ptr<BackendFactory> create_picky(const OptionReader& options,
                                             const BackendContext& context) {
  return std::make_unique<PickyFactory>(options, context);
}

TEST_F(SqliteFile, ADerivedFactoryChecksKeysItsOwnWay) {
  const PluginDescriptor picky = backend_plugin("picky", "1", create_picky);
  const auto factory = make_factory(picky, context_, {{path_}, {}});
  EXPECT_EQ(factory->traits().key_rules, KeyRules::custom);
  EXPECT_THROW(factory->validate_key("", [](std::string_view) {}), InvalidKey);
  EXPECT_EQ(make()->traits().key_rules, KeyRules::portable);
  EXPECT_TRUE(put(*factory->connect(), "k", "v"));
}

TEST_F(SqliteFile, UnknownExtensionsAreNull) {
  const auto factory = make();
  EXPECT_EQ(factory->connect()->extension("polycache.none/1"), nullptr);
}

// --- the file format ---

// Files that were written keep being read.
TEST(SqlitePatience, WaitsOfEveryKindSpendOneLimit) {
  std::timed_mutex mutex;
  const std::lock_guard held(mutex);
  sqlite::Patience patience(20ms);
  const auto try_to_lock = [&] {
    std::unique_lock lock(mutex, std::defer_lock);
    return patience.lock(lock);
  };
  while (patience.pause(1ms)) {
  }
  std::thread([&] { EXPECT_FALSE(try_to_lock()); }).join();
  EXPECT_FALSE(patience.pause(1h));  // or this test takes an hour
  patience.renew();
  std::thread([&] { EXPECT_FALSE(try_to_lock()); }).join();
  EXPECT_FALSE(patience.pause(1h));
  patience.renew();
  EXPECT_TRUE(patience.pause(1ms));
}

TEST(SqlitePatience, ALockThatIsFreeIsTakenWithNoneLeft) {
  std::timed_mutex mutex;
  sqlite::Patience patience(0ms);
  std::unique_lock lock(mutex, std::defer_lock);
  EXPECT_TRUE(patience.lock(lock));
}

// Processes that write all the time slow it down and do not end it.
TEST(SqlitePatience, ClearingByPrefixHasItAnewForEachStep) {
  const testing::SqliteFolder folder;
  sqlite::Patience patience(50ms);
  sqlite::Table table(sqlite::Connection::Place::file, folder.file("cache.db"),
                      sqlite::Connection::Absent::make, sqlite::Table::Log::write_ahead,
                      folder.file("cache.db"), {.name = "cache", .synchronous = "off"}, patience);
  table.put("k", "v", forever, PutMode::always, {});
  while (patience.pause(1ms)) {
  }
  std::int64_t removed = 0;
  table.erase_prefix("k", removed);
  EXPECT_EQ(removed, 1);
  EXPECT_TRUE(patience.pause(1ms));
}

TEST(SqliteKeyHash, StaysAsItIs) {
  constexpr sqlite::HashSecret secret{0x0123456789abcdefU, 0xfedcba9876543210U};
  const std::pair<std::string_view, std::uint64_t> known[] = {
      {"", 0xb143d546566c7b94U},
      {"a", 0xdb2cd0f810a47629U},
      {"key", 0x40c231f522ca2fc0U},
      {"1234567", 0x709a9ee549119159U},
      {"12345678", 0xc7965c46b742cf40U},
      {"bench:1:k", 0x852bdad715a237c2U},
      {"0123456789abcdef", 0x59e1ffb7ef6e583eU},
      {"0123456789abcdefg", 0x1275c5768163b463U},
      {"bench:1:user:profile:42", 0xb28acf8bddf42b78U},
  };
  for (const auto& [key, hash] : known) EXPECT_EQ(sqlite::hash_key(key, secret), hash) << key;
}

}  // namespace
}  // namespace polycache
