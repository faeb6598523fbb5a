// The limits of the store "sqlite": what counts towards them, and which entries go.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/backends/sqlite.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"
#include "support/process_log.h"
#include "support/sqlite_file.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using testing::Database;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::make_factory;
using testing::ManualClock;
using testing::TestContext;

constexpr Ttl forever = Ttl::forever();

class SqliteLimits : public ::testing::Test {
 protected:
  std::unique_ptr<BackendFactory> make(OptionMap options) {
    return make_factory(sqlite::plugin, context_, {{path_}, std::move(options)});
  }
  static bool put(Backend& session, int key, std::string_view value, Ttl ttl = forever) {
    return session.put("k" + std::to_string(key), value, ttl, PutMode::always);
  }
  static bool contains(Backend& session, int key) {
    return session.contains("k" + std::to_string(key), [](std::string_view) {});
  }
  static int count(Backend& session, int from, int to) {
    int live = 0;
    for (int i = from; i < to; ++i) live += contains(session, i) ? 1 : 0;
    return live;
  }
  std::string file_text(const std::string& sql) const { return Database(path_).text(sql); }
  // What the table has, and what it is known to have.
  std::string counted() const {
    return file_text(
        "SELECT count(*) || '/' || coalesce(sum(length(key) + length(value) + 64), 0) FROM cache");
  }
  std::string known() const {
    return file_text("SELECT entries || '/' || bytes FROM polycache_usage WHERE name = 'cache'");
  }
  std::size_t cull(BackendFactory& factory) const {
    auto* const maintenance =
        static_cast<MaintenanceExtension*>(factory.extension(MaintenanceExtension::id));
    return maintenance->cull();
  }

  testing::SqliteFolder folder_;
  const std::string path_ = folder_.file("cache.db");
  ManualClock clock_;
  TestContext context_{clock_};
};

TEST_F(SqliteLimits, WhatATableHoldsIsKnownWhateverChangesIt) {
  const auto seed = static_cast<unsigned>(
      testing::number_from_environment("POLYCACHE_SEED", std::random_device()()));
  SCOPED_TRACE("POLYCACHE_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  const auto limited = make({{"max_entries", 60}, {"size_limit", 65'536}});
  TestContext other_process(clock_);
  const auto plain = make_factory(sqlite::plugin, other_process, {{path_}, {{"checksum", true}}});
  const auto one = limited->connect();
  const auto other = plain->connect();
  put(*one, 0, "makes the table");
  const auto number = [&](int below) { return static_cast<int>(random() % unsigned(below)); };
  for (int step = 0; step < 3000; ++step) {
    Backend& session = number(3) == 0 ? *other : *one;
    const int key = number(100);
    const std::string name = "k" + std::to_string(key);
    const std::string value(static_cast<std::size_t>(number(number(8) == 0 ? 9000 : 60)), 'v');
    const Ttl ttl = number(2) == 0 ? forever : Ttl(std::chrono::milliseconds(1 + number(40)));
    switch (number(16)) {
      case 0:
        session.erase(name);
        break;
      case 1:
        session.put(name, value, ttl, PutMode::if_absent);
        break;
      case 2:
        session.put(name, value, ttl, PutMode::if_present);
        break;
      case 3:
        session.touch(name, ttl, [](std::string_view) {});
        break;
      case 4:
        session.put("n" + name, "1", ttl, PutMode::always);
        session.incr("n" + name, number(9999));
        break;
      case 5: {
        const std::vector<std::string> keys{"k1", "k2", name, "k3"};
        std::vector<Item> items;
        for (const std::string& each : keys) items.push_back({each, value, ttl});
        session.put_many(items, PutMode::always, [](std::size_t) {});
        break;
      }
      case 6:
        if (number(10) == 0) session.clear();
        break;
      case 7:
        static_cast<PopExtension*>(session.extension(PopExtension::id))
            ->pop(name, [](std::string_view) {});
        break;
      case 8:
        static_cast<CompareExtension*>(session.extension(CompareExtension::id))
            ->put_if_equal(name, value, value + "longer", ttl);
        break;
      case 9:
        static_cast<ErasePrefixExtension*>(session.extension(ErasePrefixExtension::id))
            ->erase_prefix("k1" + std::to_string(number(10)));
        break;
      case 10:
        clock_.advance(std::chrono::milliseconds(number(20)));
        break;
      case 11:
        if (number(10) == 0) cull(number(2) == 0 ? *limited : *plain);
        break;
      case 12:
        if (number(20) == 0) {
          Database(path_).execute("UPDATE cache SET value = x'0102' WHERE id % 3 = 0");
        }
        break;
      default:
        session.put(name, value, ttl, PutMode::always);
    }
    if (step % 10 == 0) {
      ASSERT_EQ(known(), counted()) << "after step " << step;
    }
  }
}

TEST_F(SqliteLimits, BytesStayBelowTheLimit) {
  const auto factory = make({{"size_limit", 20'000}});
  const auto session = factory->connect();
  std::mt19937 random(7);
  for (int i = 0; i < 400; ++i) {
    EXPECT_TRUE(put(*session, i, std::string(random() % 2000, 'v')));
    EXPECT_TRUE(contains(*session, i));
    EXPECT_LE(std::stoi(file_text("SELECT bytes FROM polycache_usage")), 20'000);
  }
  EXPECT_GT(std::stoi(file_text("SELECT bytes FROM polycache_usage")), 16'000);
  // An entry that grows makes room, too.
  for (int i = 390; i < 400; ++i) {
    EXPECT_TRUE(session->put("k" + std::to_string(i), std::string(1999, 'w'), forever,
                             i % 2 == 0 ? PutMode::always : PutMode::if_present) ||
                i % 2 != 0);
    EXPECT_LE(std::stoi(file_text("SELECT bytes FROM polycache_usage")), 20'000);
  }
}

TEST_F(SqliteLimits, AValueThatIsLargerThanTheLimitIsRefused) {
  const auto factory = make({{"size_limit", 5000}});
  const auto session = factory->connect();
  EXPECT_TRUE(put(*session, 1, "small"));
  EXPECT_TRUE(put(*session, 2, "small"));
  EXPECT_TRUE(put(*session, 2, std::string(5000 - 64 - 2, 'v')));
  EXPECT_FALSE(put(*session, 2, std::string(5000 - 64 - 1, 'v')));
  EXPECT_FALSE(contains(*session, 2)) << "the older value is outdated";
  EXPECT_THAT(context_.warnings(), ElementsAre(HasSubstr("size_limit")));
}

TEST_F(SqliteLimits, TheSampledOrderIsNearlyThatOfStoring) {
  const auto factory = make({{"max_entries", 500}});
  const auto session = factory->connect();
  for (int i = 0; i < 3000; ++i) put(*session, i, "v");
  EXPECT_EQ(count(*session, 0, 3000), 500);
  // Of 16 neighbours the oldest goes: entries stay for at least half the time that they would in
  // exact order, and no longer than three times.
  EXPECT_GE(count(*session, 2750, 3000), 245);
  EXPECT_GE(count(*session, 2000, 3000), 460);
  EXPECT_EQ(count(*session, 0, 1500), 0);
  EXPECT_EQ(file_text("SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name NOT LIKE "
                      "'sqlite_%'"),
            "0");
}

TEST_F(SqliteLimits, TheExactOrderIsThatOfStoring) {
  const auto factory = make({{"max_entries", 500}, {"eviction_order", "exact"}});
  const auto session = factory->connect();
  for (int i = 0; i < 3000; ++i) {
    put(*session, i, "v");
    if (i == 2600) session->touch("k2400", forever, [](std::string_view) {});
  }
  EXPECT_EQ(count(*session, 2501, 3000), 499);
  EXPECT_TRUE(contains(*session, 2400));
  EXPECT_EQ(count(*session, 0, 2501), 1);
}

TEST_F(SqliteLimits, WithThePolicyNoneOnlyExpiredEntriesGo) {
  const auto factory = make({{"max_entries", 10}, {"eviction_policy", "none"}});
  const auto session = factory->connect();
  for (int i = 0; i < 12; ++i) put(*session, i, "v", i < 6 ? Ttl(10ms) : forever);
  EXPECT_EQ(count(*session, 0, 12), 12);
  clock_.advance(10ms);
  for (int i = 12; i < 40; ++i) put(*session, i, "v");
  EXPECT_EQ(count(*session, 6, 40), 34);
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "34");
}

TEST_F(SqliteLimits, WritesRemoveNothingWithACullLimitOfZero) {
  const auto factory = make({{"max_entries", 10}, {"cull_limit", 0}});
  const auto session = factory->connect();
  for (int i = 0; i < 600; ++i) put(*session, i, "v", i < 300 ? Ttl(10ms) : forever);
  clock_.advance(1s);
  for (int i = 600; i < 1200; ++i) put(*session, i, "v");
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "1200");
  auto* const maintenance =
      static_cast<MaintenanceExtension*>(factory->extension(MaintenanceExtension::id));
  EXPECT_EQ(maintenance->expire(), 300U);
  EXPECT_EQ(maintenance->cull(), 890U);
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "10");
}

TEST_F(SqliteLimits, AWriteRemovesAtMostTheCullLimit) {
  {
    const auto factory = make({});
    const auto session = factory->connect();
    for (int i = 0; i < 100; ++i) put(*session, i, "v");
  }
  TestContext later(clock_);
  const auto factory =
      make_factory(sqlite::plugin, later, {{path_}, {{"max_entries", 20}, {"cull_limit", 3}}});
  const auto session = factory->connect();
  put(*session, 7, "new");  // it is there already
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "100");
  for (const char* const left : {"98", "96", "94"}) {
    put(*session, 1000 + std::stoi(left), "v");
    EXPECT_EQ(file_text("SELECT count(*) FROM cache"), left);
  }
  for (int i = 2000; i < 2060; ++i) put(*session, i, "v");
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "20");
}

TEST_F(SqliteLimits, AFileFromBeforeTheLimitsKeepsItsEntries) {
  {
    const auto factory = make({});
    const auto session = factory->connect();
    for (int i = 0; i < 100; ++i) put(*session, i, std::string(static_cast<std::size_t>(i), 'v'));
  }
  EXPECT_EQ(file_text("PRAGMA user_version"), "1");
  // As versions before the counts made it.
  Database(path_).execute("CREATE INDEX cache_written ON cache(written, expires)");
  TestContext later(clock_);
  const auto factory = make_factory(sqlite::plugin, later, {{path_}, {{"max_entries", 1000}}});
  const auto session = factory->connect();
  EXPECT_EQ(count(*session, 0, 100), 100);
  EXPECT_EQ(known(), "") << "no limit needs the bytes";
  EXPECT_EQ(file_text("SELECT entries FROM polycache_usage"), "100");
  EXPECT_EQ(file_text("PRAGMA user_version"), "2");
  EXPECT_EQ(file_text("SELECT count(*) FROM sqlite_master WHERE name = 'cache_written'"), "0");
  EXPECT_TRUE(put(*session, 5, "other size"));
  // Bytes are counted once a limit needs them, whichever alias writes then.
  TestContext third(clock_);
  const auto sized = make_factory(sqlite::plugin, third, {{path_}, {{"size_limit", "1MiB"}}});
  EXPECT_EQ(count(*sized->connect(), 0, 100), 100);
  EXPECT_EQ(known(), counted());
  TestContext fourth(clock_);
  const auto plain = make_factory(sqlite::plugin, fourth, {{path_}, {}});
  for (Backend* const writer : {plain->connect().release(), sized->connect().release()}) {
    const std::unique_ptr<Backend> owner(writer);
    EXPECT_TRUE(put(*writer, 6, "and another"));
    EXPECT_TRUE(put(*writer, 106, "new"));
    EXPECT_EQ(known(), counted());
    owner->clear();
    EXPECT_EQ(known(), "0/0");
  }
  EXPECT_TRUE(put(*session, 7, "again"));
  EXPECT_EQ(known(), counted());
}

TEST_F(SqliteLimits, WrongCountsAreFoundAndMended) {
  const auto factory = make({{"max_entries", 1000}, {"size_limit", "1MiB"}});
  const auto session = factory->connect();
  for (int i = 0; i < 10; ++i) put(*session, i, "v");
  Database(path_).execute("UPDATE polycache_usage SET bytes = bytes + 1");
  auto* const check = static_cast<CheckExtension*>(factory->extension(CheckExtension::id));
  const auto found = [&](CheckExtension::Fix fix) {
    std::vector<std::string> texts;
    check->check(fix, [&](const CheckExtension::Problem& problem) {
      texts.push_back(std::string(problem.text) + (problem.is_fixed ? " (fixed)" : ""));
    });
    return texts;
  };
  EXPECT_THAT(found(CheckExtension::Fix::no), ElementsAre(HasSubstr("the counts of its entries")));
  EXPECT_THAT(found(CheckExtension::Fix::yes), ElementsAre(HasSubstr("(fixed)")));
  EXPECT_THAT(found(CheckExtension::Fix::no), IsEmpty());
  EXPECT_EQ(known(), counted());
}

// Each call has a session of its own.
TEST_F(SqliteLimits, CullingByHandReachesAllPartsOfTheTable) {
  const auto factory = make({{"max_entries", 200}, {"cull_limit", 0}});
  const auto session = factory->connect();
  for (int i = 0; i < 4000; ++i) {
    put(*session, i, "v");
    clock_.advance(1ms);
    if (i % 20 == 19) cull(*factory);
  }
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "200");
  EXPECT_EQ(count(*session, 0, 2000), 0);
}

TEST_F(SqliteLimits, CullingByHandRemovesExpiredEntriesWithThePolicyNone) {
  const auto factory = make({{"max_entries", 10}, {"eviction_policy", "none"}, {"cull_limit", 0}});
  const auto session = factory->connect();
  for (int i = 0; i < 500; ++i) put(*session, i, "v", i % 10 == 0 ? Ttl(10ms) : forever);
  clock_.advance(10ms);
  EXPECT_EQ(cull(*factory), 50U);
}

TEST_F(SqliteLimits, AValueThatReplacesAnotherMustFitToo) {
  for (const char* const limit : {"size_limit", "max_value_bytes"}) {
    SCOPED_TRACE(limit);
    TestContext context(clock_);
    const auto factory = make_factory(sqlite::plugin, context, {{path_}, {{limit, 5000}}});
    const auto session = factory->connect();
    auto& compare = *static_cast<CompareExtension*>(session->extension(CompareExtension::id));
    EXPECT_TRUE(put(*session, 1, "small"));
    EXPECT_FALSE(compare.put_if_equal("k1", "other", std::string(5001, 'v'), forever));
    EXPECT_TRUE(contains(*session, 1));
    EXPECT_TRUE(context.warnings().empty());
    EXPECT_FALSE(compare.put_if_equal("k1", "small", std::string(5001, 'v'), forever));
    EXPECT_FALSE(contains(*session, 1)) << "the older value is outdated";
    EXPECT_THAT(context.warnings(), ElementsAre(HasSubstr(limit)));
  }
  CacheRegistry registry(Config{.caches = {{"default",
                                            {.backend = "sqlite",
                                             .location = {path_ + "2"},
                                             .options = {{"size_limit", 5000}}}}}},
                         {.on_warning = {}, .linked_plugins = {&sqlite::plugin}});
  Cache& cache = registry["default"];
  EXPECT_TRUE(cache.set("k", "small"));
  const auto grow = [](const std::optional<std::string>&) { return std::string(6000, 'v'); };
  EXPECT_FALSE(cache.update<std::string>("k", grow));
  EXPECT_FALSE(cache.contains("k"));
}

TEST_F(SqliteLimits, ATableThatWasDroppedIsCountedAgain) {
  const OptionMap options{{"max_entries", 20}, {"size_limit", 65'536}};
  {
    const auto factory = make(options);
    const auto session = factory->connect();
    for (int i = 0; i < 20; ++i) put(*session, i, "v");
  }
  Database(path_).execute("DROP TABLE cache");
  for (const char* const damage :
       {"DROP TRIGGER polycache_usage_erase_cache", "DROP TABLE polycache_usage",
        "DELETE FROM polycache_usage", "DELETE FROM cache"}) {
    TestContext later(clock_);
    const auto factory = make_factory(sqlite::plugin, later, {{path_}, options});
    const auto session = factory->connect();
    for (int i = 0; i < 50; ++i) put(*session, i, "v");
    EXPECT_EQ(known(), counted());
    EXPECT_EQ(count(*session, 0, 50), 20);
    Database(path_).execute(damage);
  }
}

TEST_F(SqliteLimits, TheIndexOfTheExactOrderGoesWithIt) {
  const auto indexes = [&] {
    return file_text("SELECT count(*) FROM sqlite_master WHERE name = 'cache_written'");
  };
  for (const char* const order : {"exact", "approximate", "exact", "approximate"}) {
    TestContext context(clock_);
    const auto factory = make_factory(sqlite::plugin, context,
                                      {{path_}, {{"max_entries", 20}, {"eviction_order", order}}});
    const auto session = factory->connect();
    for (int i = 0; i < 50; ++i) put(*session, i, "v");
    EXPECT_EQ(count(*session, 0, 50), 20);
    EXPECT_EQ(indexes(), order == std::string_view("exact") ? "1" : "0");
  }
}

TEST_F(SqliteLimits, HoldForTablesOfAnyName) {
  for (const char* const name : {"new", "old", "temp", "main.x", "excluded", "kept", "a\"b", "'"}) {
    SCOPED_TRACE(name);
    for (const char* const order : {"approximate", "exact"}) {
      TestContext context(clock_);
      const auto factory = make_factory(sqlite::plugin, context,
                                        {{path_},
                                         {{"table", name},
                                          {"max_entries", 20},
                                          {"size_limit", 65'536},
                                          {"eviction_order", order}}});
      const auto session = factory->connect();
      for (int i = 0; i < 60; ++i) put(*session, i, std::string(static_cast<std::size_t>(i), 'v'));
      EXPECT_EQ(count(*session, 0, 60), 20);
      session->clear();
      for (int i = 0; i < 30; ++i) put(*session, i, "v");
      EXPECT_EQ(count(*session, 0, 60), 20);
    }
  }
}

TEST_F(SqliteLimits, GoTogetherWithTheIndexOfTags) {
  CacheRegistry registry(Config{.caches = {{"default",
                                            {.backend = "sqlite",
                                             .location = {path_},
                                             .options = {{"max_entries", 50}}}}}},
                         {.on_warning = {}, .linked_plugins = {&sqlite::plugin}});
  Cache& cache = registry["default"];
  cache.create_tag_index();
  for (int i = 0; i < 300; ++i) {
    cache.set("k" + std::to_string(i), i, {.timeout = 1h, .tags = {"t" + std::to_string(i % 3)}});
  }
  EXPECT_EQ(file_text("SELECT count(*) FROM cache"), "50");
  EXPECT_THAT(cache.maintenance().check(), IsEmpty());
}

TEST_F(SqliteLimits, AStoreInMemoryHasThemToo) {
  const auto factory = make_factory(
      sqlite::plugin, context_, {{":memory:limits"}, {{"max_entries", 20}, {"size_limit", 4096}}});
  const auto session = factory->connect();
  for (int i = 0; i < 100; ++i) put(*session, i, "v");
  EXPECT_EQ(count(*session, 0, 100), 20);
  for (int i = 100; i < 110; ++i) put(*session, i, std::string(1000, 'v'));
  EXPECT_EQ(count(*session, 0, 110), 3);
  session->clear();
  EXPECT_EQ(count(*session, 0, 110), 0);
  for (int i = 0; i < 100; ++i) put(*session, i, "v");
  EXPECT_EQ(count(*session, 0, 100), 20);
}

TEST_F(SqliteLimits, AliasesOfOneTableMustAgree) {
  const auto alias = [&](OptionMap options) {
    return CacheConfig{.backend = "sqlite", .location = {path_}, .options = std::move(options)};
  };
  for (const OptionMap& other :
       {OptionMap{{"size_limit", 20'000}}, OptionMap{{"size_limit", 10'000}, {"cull_limit", 5}},
        OptionMap{{"size_limit", 10'000}, {"eviction_order", "exact"}}}) {
    try {
      const CacheRegistry registry(
          Config{.caches = {{"a", alias({{"size_limit", 10'000}})}, {"b", alias(other)}}},
          {.linked_plugins = {&sqlite::plugin}});
      ADD_FAILURE() << "two limits of one table were accepted";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("caches.b.options."));
    }
  }
}

TEST_F(SqliteLimits, WrongOptionsAreNamedWithTheirRemedy) {
  const auto problem = [&](OptionMap options) {
    try {
      make(std::move(options));
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  EXPECT_THAT(problem({{"eviction_policy", "lru"}}), HasSubstr("least-recently-stored"));
  EXPECT_THAT(problem({{"eviction_order", "precise"}}), HasSubstr("approximate"));
  EXPECT_THAT(problem({{"size_limit", 100}}), HasSubstr("options.size_limit"));
  EXPECT_THAT(problem({{"cull_limit", -1}}), HasSubstr("options.cull_limit"));
  EXPECT_THAT(problem({{"eviction_policy", "none"}}), HasSubstr("set max_entries or size_limit"));
  EXPECT_THAT(problem({{"eviction_order", "exact"}}), HasSubstr("set max_entries or size_limit"));
  EXPECT_THAT(
      problem({{"max_entries", 9}, {"eviction_policy", "none"}, {"eviction_order", "exact"}}),
      HasSubstr("options.eviction_order"));
}

}  // namespace
}  // namespace polycache
