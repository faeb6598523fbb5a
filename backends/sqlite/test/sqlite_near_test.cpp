// Reads of the store "sqlite" from this process's memory (the option "near"): what they save, and
// that none is ever older than a write that was acknowledged before the read began.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "near_tier.h"
#include "polycache/author/extension.h"
#include "polycache/author/index_extension.h"
#include "polycache/backends/sqlite.h"
#include "polycache/error.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"
#include "support/process_log.h"
#include "support/process_stores.h"
#include "support/sqlite_file.h"

namespace polycache {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::HasSubstr;
using testing::make_factory;
using testing::ManualClock;
using testing::number_from_environment;
using testing::start_child;
using testing::TestContext;
using testing::wait_for;

std::optional<std::string> get(Backend& session, std::string_view key) {
  std::optional<std::string> result;
  session.get(key, [&](std::string_view value) { result.emplace(value); });
  return result;
}

bool put(Backend& session, std::string_view key, std::string_view value, Ttl ttl = Ttl::forever()) {
  return session.put(key, value, ttl, PutMode::always);
}

// How many statements this process has run, on connections that were opened since the first call.
std::atomic<std::int64_t>& statements() {
  static std::atomic<std::int64_t> count{0};
  const auto trace = +[](sqlite3* database, const char**, const sqlite3_api_routines*) {
    const auto count_one = +[](unsigned, void*, void*, void*) {
      ++count;
      return 0;
    };
    return sqlite3_trace_v2(database, SQLITE_TRACE_STMT, count_one, nullptr);
  };
  // The type that SQLite asks for is not the one it calls.
  static const int registered = sqlite3_auto_extension(reinterpret_cast<void (*)()>(trace));
  EXPECT_EQ(registered, SQLITE_OK);
  return count;
}

class SqliteNear : public ::testing::Test {
 protected:
  std::string file() const { return folder_.file("cache.db"); }

  OptionMap near() const { return {{"near", "1MiB"}}; }
  std::unique_ptr<BackendFactory> make(OptionMap options) {
    return make_factory(sqlite::plugin, context_, {{file()}, std::move(options)});
  }

  // In another process, without a near tier.
  void elsewhere(const std::function<void(Backend&)>& change) {
    const pid_t child = start_child([&] {
      change(*make({})->connect());
      return true;
    });
    ASSERT_EQ(wait_for(child), 0);
  }

  testing::SqliteFolder folder_;
  ManualClock clock_;
  TestContext context_{clock_};
  std::atomic<std::int64_t>& statements_ = statements();
};

TEST_F(SqliteNear, AHitRunsNoStatement) {
  const auto factory = make(near());
  const auto session = factory->connect();
  put(*session, "k", "v");
  put(*session, "l", "w");
  EXPECT_EQ(get(*session, "k"), "v");
  EXPECT_EQ(get(*session, "l"), "w");
  const std::int64_t before = statements_;
  EXPECT_EQ(get(*session, "k"), "v");
  std::vector<std::string> values;
  const std::array<std::string_view, 2> keys{"l", "k"};
  session->get_many(keys, [&](std::size_t, std::string_view value) { values.emplace_back(value); });
  EXPECT_THAT(values, ::testing::ElementsAre("w", "v"));
  EXPECT_EQ(statements_, before);
  const auto other = factory->connect();
  put(*other, "m", "x");
  const std::int64_t opened = statements_;
  EXPECT_EQ(get(*session, "k"), "v");
  EXPECT_GT(statements_, opened) << "the file has changed";
  EXPECT_EQ(get(*session, "k"), "v");
  EXPECT_EQ(statements_, opened + 1);
}

TEST_F(SqliteNear, AnItemOfAnIndexIsReadAgainAfterACommit) {
  const auto session = make(near())->connect();
  auto& index = *static_cast<IndexExtension*>(session->extension(IndexExtension::id));
  const auto find = [](IndexExtension& from, const IndexExtension::Place& place,
                       std::string_view key) -> std::optional<std::string> {
    std::optional<std::string> result;
    from.find(place, key, [&](std::string_view value) { result.emplace(value); });
    return result;
  };
  const auto put_into = [](IndexExtension& to, const IndexExtension::Place& place,
                           std::string_view key, std::string_view value) {
    to.put(place, key, value, PutMode::always, [](std::string_view) {});
  };
  const IndexExtension::Place users{.key = "users", .type = "t"};
  const IndexExtension::Place longer{.key = "users1", .type = "t"};
  put_into(index, users, "1k", "v");
  put_into(index, longer, "k", "w");
  EXPECT_EQ(find(index, users, "1k"), "v");
  EXPECT_EQ(find(index, longer, "k"), "w");
  const std::int64_t before = statements_;
  EXPECT_EQ(find(index, users, "1k"), "v");
  EXPECT_EQ(find(index, longer, "k"), "w");
  EXPECT_EQ(statements_, before);
  EXPECT_EQ(find(index, users, "k"), std::nullopt);
  elsewhere([&](Backend& other) {
    put_into(*static_cast<IndexExtension*>(other.extension(IndexExtension::id)), users, "1k", "x");
  });
  EXPECT_EQ(find(index, users, "1k"), "x");
  EXPECT_EQ(find(index, longer, "k"), "w");
  index.clear(users);
  EXPECT_EQ(find(index, users, "1k"), std::nullopt);
}

TEST_F(SqliteNear, AHitTellsWhatIsLeftOfTheLifetime) {
  const auto session = make(near())->connect();
  put(*session, "k", "v", Ttl(10s));
  get(*session, "k");
  clock_.advance(50ms);
  const std::int64_t before = statements_;
  std::chrono::milliseconds left{};
  auto& ttl = *static_cast<TtlExtension*>(session->extension(TtlExtension::id));
  ttl.get("k", [&](std::string_view, Ttl ttl_left) { left = ttl_left.value(); });
  EXPECT_EQ(statements_, before);
  EXPECT_EQ(left, 9950ms);
}

TEST_F(SqliteNear, WritesAreSeenByTheNextReadWhoeverMadeThem) {
  const auto factory = make(near());
  const auto session = factory->connect();
  const auto other = factory->connect();
  put(*session, "k", "0");
  for (int i = 1; i < 20; ++i) {
    ASSERT_EQ(get(*session, "k"), std::to_string(i - 1));
    ASSERT_EQ(get(*session, "k"), std::to_string(i - 1));
    put(i % 2 == 0 ? *session : *other, "k", std::to_string(i));
  }
  elsewhere([](Backend& there) { put(there, "k", "elsewhere"); });
  EXPECT_EQ(get(*session, "k"), "elsewhere");
  elsewhere([](Backend& there) { there.erase("k"); });
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  put(*session, "k", "again");
  EXPECT_EQ(get(*session, "k"), "again");
  elsewhere([](Backend& there) { there.clear(); });
  EXPECT_EQ(get(*session, "k"), std::nullopt);
}

TEST_F(SqliteNear, LifetimesEndAndAreChangedByTouch) {
  const auto session = make(near())->connect();
  put(*session, "k", "v", Ttl(50ms));
  EXPECT_EQ(get(*session, "k"), "v");
  clock_.advance(49ms);
  EXPECT_EQ(get(*session, "k"), "v");
  clock_.advance(1ms);
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  put(*session, "k", "v", Ttl(50ms));
  EXPECT_EQ(get(*session, "k"), "v");
  session->touch("k", Ttl(1h), [](std::string_view) {});
  clock_.advance(50ms);
  EXPECT_EQ(get(*session, "k"), "v");
}

TEST_F(SqliteNear, AClockThatIsSetBackAsksTheFile) {
  const auto session = make(near())->connect();
  put(*session, "k", "v", Ttl(1h));
  EXPECT_EQ(get(*session, "k"), "v");
  clock_.set_wall_clock(clock_.system_now() - 1min);
  EXPECT_EQ(get(*session, "k"), std::nullopt) << "as without a near tier: it could live too long";
}

// The last connection that closes a file removes its log. What is then in the file cannot be told
// from the empty log of the next opening.
TEST_F(SqliteNear, WhatIsWrittenWhileTheFileIsClosedIsSeen) {
  const auto factory = make(near());
  const auto read_on_a_new_session = [&] {
    const auto session = factory->connect();
    get(*session, "k");
    return get(*session, "k");
  };
  put(*factory->connect(), "k", "old");
  EXPECT_EQ(read_on_a_new_session(), "old");
  EXPECT_FALSE(fs::exists(file() + "-wal"));
  elsewhere([](Backend& there) { put(there, "k", "new"); });
  EXPECT_FALSE(fs::exists(file() + "-wal"));
  EXPECT_EQ(read_on_a_new_session(), "new");
}

TEST_F(SqliteNear, AReplacedFileIsNoticed) {
  const auto factory = make(near());
  const auto session = factory->connect();
  put(*session, "k", "old");
  EXPECT_EQ(get(*session, "k"), "old");
  for (const char* const tail : {"", "-wal", "-shm"}) fs::remove(file() + tail);
  elsewhere([](Backend& there) { put(there, "l", "new"); });
  clock_.advance(100ms);
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  EXPECT_EQ(get(*session, "l"), "new");
  EXPECT_EQ(get(*session, "l"), "new");
}

TEST_F(SqliteNear, AForkedChildReadsWhatItsParentWritesLater) {
  const auto factory = make(near());
  const auto session = factory->connect();
  put(*session, "k", "old");
  EXPECT_EQ(get(*session, "k"), "old");
  const testing::Shared<std::atomic<bool>> written;
  const pid_t child = start_child([&] {
    while (!*written.operator->()) std::this_thread::sleep_for(1ms);
    return get(*session, "k") == "new" && get(*session, "k") == "new" &&
           put(*session, "k", "child");
  });
  put(*session, "k", "new");
  *written.operator->() = true;
  EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(get(*session, "k"), "child");
}

TEST_F(SqliteNear, WrongOptionsAreRefused) {
  const auto problem = [&](const std::string& location, const char* size) -> std::string {
    try {
      make_factory(sqlite::plugin, context_, {{location}, {{"near", size}}});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_THAT(problem(file(), "1KiB"), HasSubstr("near"));
  EXPECT_THAT(problem(file(), "8000000TiB"), HasSubstr("near"));
  EXPECT_THAT(problem(file(), "100TiB"), HasSubstr("at most the memory of this machine"));
  EXPECT_THAT(problem(":memory:", "1MiB"), HasSubstr("a store in memory is near"));
  EXPECT_THAT(problem("redis://here", "1MiB"), ::testing::Not(HasSubstr("near")));
}

TEST(NearTier, KeepsNoMoreThanItsBytesAndTheEntriesUsedLast) {
  sqlite::NearTier tier(256 << 10);
  const sqlite::LogStamp stamp{.commits = 1, .checksum = 2, .salts = 3, .opening = 4};
  const std::string value(100, 'v');
  const auto has = [&](const std::string& key) {
    std::string found;
    std::int64_t expires = 0;
    return tier.find(key, stamp, 10, found, expires) && found == value && expires == 99;
  };
  for (int i = 0; i < 10'000; ++i) {
    tier.keep(std::to_string(i), value, 99, stamp, 10);
    ASSERT_TRUE(has("0")) << i << ": it is used";
  }
  int kept = 0;
  for (int i = 0; i < 10'000; ++i) kept += has(std::to_string(i)) ? 1 : 0;
  EXPECT_GT(kept, 500);
  EXPECT_LT(kept, (256 << 10) / 300 + 1);
  tier.keep("large", std::string(16 << 10, 'x'), 99, stamp, 10);
  EXPECT_TRUE(has("0")) << "a value of a shard's size is not kept";
}

TEST(NearTier, AnEntryCountsAtItsStampUntilItExpires) {
  sqlite::NearTier tier(1 << 20);
  const sqlite::LogStamp stamp{.commits = 1, .checksum = 2, .salts = 3, .opening = 4};
  tier.keep("k", "v", 99, stamp, 10);
  std::string value;
  std::int64_t expires = 0;
  const auto has = [&](const sqlite::LogStamp& now, std::int64_t at) {
    return tier.find("k", now, at, value, expires);
  };
  EXPECT_TRUE(has(stamp, 10));
  EXPECT_TRUE(has(stamp, 98));
  EXPECT_FALSE(has(stamp, 99));
  EXPECT_FALSE(has(stamp, 9));
  for (const sqlite::LogStamp& other :
       {sqlite::LogStamp{2, 2, 3, 4}, sqlite::LogStamp{1, 1, 3, 4}, sqlite::LogStamp{1, 2, 2, 4},
        sqlite::LogStamp{1, 2, 3, 3}}) {
    EXPECT_FALSE(has(other, 10));
  }
}

// --- Processes ---

// Each key is written by one process, with growing numbers. What a process has acknowledged must be
// in every later read of all of them, although they are killed, and the log is copied back and
// begun again all the time.
//
// POLYCACHE_NEAR_STEPS is how many operations there are, POLYCACHE_SEED chooses the kills.
class NearRace : public ::testing::Test {
 protected:
  static constexpr std::size_t processes = 4;
  static constexpr std::size_t keys = 8;

  struct Totals {
    std::array<std::atomic<std::int64_t>, keys> begun{};
    std::array<std::atomic<std::int64_t>, keys> done{};
    std::atomic<std::int64_t> steps{0};
    std::atomic<std::int64_t> reads{0};
    std::atomic<std::int64_t> statements{0};  // that the reads ran
    std::atomic<std::int64_t> outdated{0};
    std::atomic<std::int64_t> from_nowhere{0};
  };

  Config config() const {
    return {.caches = {{"default",
                        {.backend = "sqlite",
                         .location = {folder_.file("cache.db")},
                         .options = {{"near", "1MiB"},
                                     {"busy_timeout", std::string("60s")},
                                     {"wal_autocheckpoint", std::int64_t{20}}}}}}};
  }

  void make_step(Cache& cache, std::size_t process, std::minstd_rand& random) {
    if (random() % 50 == 0) {
      const std::size_t key = process + processes * (random() % (keys / processes));
      const std::int64_t number = ++totals_->begun[key];
      cache.set(std::to_string(key), number);
      totals_->done[key] = number;
      return;
    }
    const std::size_t key = random() % keys;
    const std::int64_t done = totals_->done[key];
    const std::int64_t before = statements();
    const auto value = random() % 2 == 0 ? cache.get<std::int64_t>(std::to_string(key))
                                         : cache.get_many<std::int64_t>({std::to_string(key)})[0];
    totals_->statements += statements() - before;
    ++totals_->reads;
    if (value.value_or(0) < done) ++totals_->outdated;
    if (value.value_or(0) > totals_->begun[key]) ++totals_->from_nowhere;
  }

  pid_t start(std::size_t process, std::uint32_t seed) {
    return start_child([=, this] {
      static_cast<void>(statements());
      CacheRegistry registry(config(), testing::environment_of_all_stores());
      Cache& cache = registry["default"];
      std::minstd_rand random(seed);
      while (totals_->steps++ < steps_) make_step(cache, process, random);
      return true;
    });
  }

  const testing::SqliteFolder folder_;
  const std::int64_t steps_ = number_from_environment("POLYCACHE_NEAR_STEPS", 100'000);
  const testing::Shared<Totals> totals_;
};

TEST_F(NearRace, NoReadIsOlderThanAnAcknowledgedWriteAlthoughProcessesAreKilled) {
  const auto seed =
      static_cast<std::uint32_t>(number_from_environment("POLYCACHE_SEED", std::random_device()()));
  std::mt19937 random(seed);
  std::vector<pid_t> children;
  for (std::size_t i = 0; i < processes; ++i) {
    children.push_back(start(i, static_cast<std::uint32_t>(random())));
  }
  int killed = 0;
  while (totals_->steps < steps_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10 + random() % 100));
    const std::size_t victim = random() % processes;
    ::kill(children[victim], SIGKILL);
    wait_for(children[victim]);
    ++killed;
    children[victim] = start(victim, static_cast<std::uint32_t>(random()));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  std::cout << "seed " << seed << ": " << totals_->reads << " reads, " << totals_->statements
            << " statements for them, " << killed << " processes killed\n";
  EXPECT_EQ(totals_->outdated, 0);
  EXPECT_EQ(totals_->from_nowhere, 0);
  EXPECT_LT(totals_->statements, totals_->reads) << "some reads were hits";
}

}  // namespace
}  // namespace polycache
