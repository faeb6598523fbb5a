// Deques over the stock stores: what clears, evicts or damages entries leaves them as they are;
// stores that cannot keep them are refused; they fail closed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/deque.h"
#include "polycache/polycache.h"
#include "support/message_of.h"
#include "support/process_stores.h"

namespace polycache::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DequeStores : public StoresTest {
 protected:
  DequeStores() : StoresTest("deques") {}
};

TEST_P(DequeStores, ClearOfTheCacheKeepsADequeExceptOnRedis) {
  CacheRegistry registry(config(), environment_of_all_stores());
  Deque<int> deque(name(), {.collection = {.registry = &registry}});
  deque.extend_back({1, 2, 3});
  registry["default"].set("k", "v");
  registry["default"].clear();
  EXPECT_FALSE(registry["default"].contains("k"));
  EXPECT_EQ(deque.size(), is("redis") ? 0U : 3U);
  deque.clear();
}

TEST_P(DequeStores, TwoRegistriesShareOneDeque) {
  CacheRegistry one(config(), environment_of_all_stores());
  CacheRegistry other(config(), environment_of_all_stores());
  Deque<std::string> mine(name(), {.collection = {.registry = &one}});
  Deque<std::string> theirs(name(), {.collection = {.registry = &other}});
  mine.extend_back({"a", "b", "c"});
  EXPECT_EQ(theirs.pop_front(), "a");
  theirs.rotate();
  EXPECT_THAT(mine.values(), ElementsAre("c", "b"));
  EXPECT_TRUE(theirs.clear());
  EXPECT_TRUE(mine.empty());
}

TEST_P(DequeStores, ALargeExtensionIsReadBackInPages) {
  CacheRegistry registry(config(), environment_of_all_stores());
  Deque<std::string> deque(name(), {.page = 64, .collection = {.registry = &registry}});
  std::vector<std::string> values;
  for (int i = 0; i < 700; ++i) values.emplace_back(static_cast<std::size_t>(i) * 10, 'x');
  deque.extend_back(values);
  std::vector<std::string> read;
  for (const std::string& value : deque) read.push_back(value);
  EXPECT_EQ(read, values);
  EXPECT_TRUE(deque.clear());
}

INSTANTIATE_TEST_SUITE_P(
    Stores, DequeStores,
    ::testing::Values(ProcessStore{"locmem", [] { return std::vector<std::string>(); }, true},
                      sqlite_store, redis_store),
    name_of);

// --- sqlite ---

class DequeFiles : public ::testing::Test {
 protected:
  Config config(OptionMap options = {}, std::string table = "cache") const {
    options.merge(patient_options("sqlite"));
    options.emplace("table", std::move(table));
    return {
        .caches = {{"default",
                    {.backend = "sqlite", .location = {path_}, .options = std::move(options)}}}};
  }
  static DequeOptions of(CacheRegistry& registry) {
    return {.collection = {.registry = &registry}};
  }

  const SqliteFolder folder_;
  const std::string path_ = folder_.file("cache.db");
  const std::string collections_ = path_ + "-collections";
};

TEST_F(DequeFiles, CollectionsHaveAFileOfTheirOwnWhichTheFirstOneMakes) {
  CacheRegistry registry(config(), environment_of_all_stores());
  registry["default"].set("k", "v");
  EXPECT_FALSE(std::filesystem::exists(collections_));
  Deque<int>("d", of(registry)).push_back(1);
  EXPECT_TRUE(std::filesystem::exists(collections_));
}

TEST_F(DequeFiles, ALimitOfEntriesEvictsNoValueOfADeque) {
  CacheRegistry registry(config({{"max_entries", 10}}), environment_of_all_stores());
  Deque<int> deque("d", of(registry));
  for (int i = 0; i < 100; ++i) {
    deque.push_back(i);
    registry["default"].set("k" + std::to_string(i), i);
  }
  registry["default"].maintenance().cull();
  EXPECT_EQ(deque.size(), 100U);
}

TEST_F(DequeFiles, AnotherTableHasOtherDeques) {
  CacheRegistry one(config(), environment_of_all_stores());
  CacheRegistry other(config({}, "other"), environment_of_all_stores());
  Deque<int>("d", of(one)).push_back(1);
  EXPECT_TRUE(Deque<int>("d", of(other)).empty());
}

TEST_F(DequeFiles, ADequeOutlivesTheRemovalOfTheCachesFile) {
  {
    CacheRegistry registry(config(), environment_of_all_stores());
    registry["default"].set("k", "v");
    Deque<int>("d", of(registry)).extend_back({1, 2});
  }
  std::filesystem::remove(path_);
  CacheRegistry registry(config(), environment_of_all_stores());
  EXPECT_FALSE(registry["default"].contains("k"));
  EXPECT_THAT(Deque<int>("d", of(registry)).values(), ElementsAre(1, 2));
}

// Entries of a damaged file can be computed again; what was in a deque cannot.
TEST_F(DequeFiles, ADamagedFileOfCollectionsIsAnErrorAndStaysWhereItIs) {
  {
    CacheRegistry registry(config(), environment_of_all_stores());
    Deque<std::string> deque("d", of(registry));
    deque.extend_back(std::vector<std::string>(200, std::string(500, 'x')));
  }
  const auto size = std::filesystem::file_size(collections_);
  {
    std::fstream file(collections_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    const std::string zeros(static_cast<std::size_t>(size) - 4096, '\xFF');
    file.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
  }
  CacheRegistry registry(config(), environment_of_all_stores());
  Deque<std::string> deque("d", of(registry));
  EXPECT_THROW(deque.pop_front(), BackendError);
  EXPECT_EQ(std::filesystem::file_size(collections_), size);
  registry["default"].set("k", "v");
  EXPECT_EQ(registry["default"].get("k"), "v") << "its entries are in another file";
}

TEST_F(DequeFiles, AFileThatIsNoneOfOursIsRefusedUnchanged) {
  std::ofstream(collections_) << "a text of another program";
  CacheRegistry registry(config(), environment_of_all_stores());
  Deque<int> deque("d", of(registry));
  EXPECT_THAT(message_of<BackendError>([&] { deque.push_back(1); }), HasSubstr("-collections"));
  registry["default"].set("k", "v");
  EXPECT_EQ(registry["default"].get("k"), "v");
}

TEST_F(DequeFiles, AStoreInMemoryKeepsDequesApartToo) {
  CacheRegistry registry({.caches = {{"default", {.backend = "sqlite", .location = {":memory:"}}}}},
                         environment_of_all_stores());
  Deque<int> deque("d", of(registry));
  deque.extend_back({1, 2});
  registry["default"].clear();
  std::thread([&] { EXPECT_EQ(deque.pop_front(), 1); }).join();
  EXPECT_EQ(deque.size(), 1U);
}

TEST_F(DequeFiles, AChildOfForkUsesADequeOfItsParent) {
  CacheRegistry registry(config(), environment_of_all_stores());
  Deque<int> deque("d", of(registry));
  deque.extend_back({1, 2, 3});
  const pid_t child = ::fork();
  if (child == 0) {
    bool good = false;
    try {
      good = deque.pop_front() == 1 && deque.pop_back() == 3;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", error.what());
    }
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(deque.pop_front(), 2);
  EXPECT_EQ(deque.pop_front(), std::nullopt);
}

// --- Stores that cannot ---

TEST(DequeServers, MemcachedAndDummyAreRefusedWithTheStoresThatCan) {
  CacheRegistry registry(
      {.caches = {{"mc", {.backend = "memcached", .location = memcached_store.location()}},
                  {"none", {.backend = "dummy"}}}},
      environment_of_all_stores());
  for (const char* const alias : {"mc", "none"}) {
    const std::string message = message_of<BackendError>(
        [&] { Deque<int>("d", {.collection = {.cache = alias, .registry = &registry}}); });
    EXPECT_THAT(message, AllOf(HasSubstr(alias), HasSubstr("has no deques"),
                               HasSubstr("locmem, redis, sqlite")));
  }
}

TEST(DequeServers, RedisWithAnEvictingPolicyIsRefusedUnlessItIsAccepted) {
  const auto server = Server::redis({"--maxmemory-policy", "allkeys-lfu"});
  CacheRegistry registry(
      {.caches = {{"default", {.backend = "redis", .location = {server->address()}}}}},
      environment_of_all_stores());
  EXPECT_THAT(
      message_of<ConfigError>([&] { Deque<int>("d", {.collection = {.registry = &registry}}); }),
      AllOf(HasSubstr("deque \"d\""), HasSubstr("allkeys-"), HasSubstr("evicting_store")));
  Deque<int> deque(
      "d", {.collection = {.evicting_store = EvictingStore::accept, .registry = &registry}});
  deque.push_back(1);
  EXPECT_EQ(deque.pop_front(), 1);
}

// Fault 63, of deques.
TEST(DequeServers, DequesFailClosedWhenTheirServerIsDown) {
  const auto server = Server::redis();
  CacheRegistry registry(
      {.caches = {{"default", {.backend = "redis", .location = {server->address()}}}}},
      environment_of_all_stores());
  Deque<int> deque("d", {.collection = {.registry = &registry}});
  deque.push_back(1);
  server->kill9();
  EXPECT_THROW(deque.push_back(2), BackendError);
  EXPECT_THROW(deque.pop_front(), BackendError);
  EXPECT_THROW(deque.peek_front(), BackendError);
  EXPECT_THROW(deque.size(), BackendError);
}

TEST(DequeServers, OnlyRotatingNeedsScriptsOfRedis) {
  const auto server = Server::redis();
  const std::string call = "redis-cli -h " + server->host() + " -p " +
                           std::to_string(server->port()) +
                           " acl setuser shop on nopass '~*' +@all -eval -evalsha > /dev/null";
  ASSERT_EQ(std::system(call.c_str()), 0);
  CacheRegistry registry(
      {.caches = {{"default",
                   {.backend = "redis", .location = {"redis://shop:any@" + server->address()}}}}},
      environment_of_all_stores());
  Deque<int> deque("d", {.maxlen = 2, .collection = {.registry = &registry}});
  deque.extend_back({1, 2, 3});
  EXPECT_EQ(deque.pop_front(), 2);
  EXPECT_THAT(message_of<BackendError>([&] { deque.rotate(); }), HasSubstr("evalsha"));
  EXPECT_THAT(deque.values(), ElementsAre(3));
}

}  // namespace
}  // namespace polycache::testing
