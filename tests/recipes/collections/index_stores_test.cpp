// Index over every stock store: what it keeps apart from entries, other processes, stores that are
// down or may evict, and which stores have none.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "polycache/index.h"
#include "polycache/polycache.h"
#include "support/message_of.h"
#include "support/process_stores.h"

namespace polycache::testing {
namespace {

using ::testing::HasSubstr;

class IndexStores : public StoresTest {
 protected:
  IndexStores() : StoresTest("indexes") {}
};

using Key = std::tuple<int, std::string, std::optional<double>>;

TEST_P(IndexStores, KeepTheOrderOfTheKeysInPages) {
  CacheRegistry registry(config(), environment_of_all_stores());
  Index<Key, std::string> index(name(), {.registry = &registry});
  using std::string_literals::operator""s;
  const std::vector<Key> keys{{-5, "", {}},       {-5, "", -1.5},  {-5, "\0"s, {}}, {0, "a", 0.0},
                              {0, "a\0"s, -7.25}, {0, "a\0"s, 3},  {0, "ab", {}},   {7, "", 1e300},
                              {7, "\xFF", {}},    {258, "x", 0.25}};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::size_t shuffled = i * 7 % keys.size();
    EXPECT_TRUE(index.insert(keys[shuffled], std::to_string(shuffled)));
  }
  for (const std::size_t page : {1U, 3U, 100U}) {
    std::size_t next = 0;
    for (const auto& [key, value] : index.items().page(page)) {
      ASSERT_LT(next, keys.size());
      EXPECT_TRUE(key == keys[next]) << next;
      EXPECT_EQ(value, std::to_string(next++));
    }
    EXPECT_EQ(next, keys.size());
    for (const auto& [key, value] : index.between(keys[2], keys[8]).reversed().page(page)) {
      EXPECT_EQ(value, std::to_string(next-- - 3));
    }
    EXPECT_EQ(next, keys.size() - 6);
  }
  EXPECT_TRUE(index.popitem()->first == keys.back());
  index.clear();
}

TEST_P(IndexStores, KeepThousandsByInsertion) {
  CacheRegistry registry(config(), environment_of_all_stores());
  auto index = Index<int, int>::by_insertion(name(), {.registry = &registry});
  constexpr int count = 2500;
  for (int i = 0; i < count; ++i) index.insert(count - i, i);
  EXPECT_EQ(index.size(), static_cast<std::size_t>(count));
  int next = 0;
  for (const auto& [key, value] : index.items().page(2000)) EXPECT_EQ(value, next++);
  EXPECT_EQ(next, count);
  for (const auto& [key, value] : index.reversed().page(700)) EXPECT_EQ(value, --next);
  EXPECT_EQ(next, 0);
  EXPECT_EQ(index.clear(), static_cast<std::size_t>(count));
}

TEST_P(IndexStores, KeepIndexesWhenEntriesAreErased) {
  CacheRegistry registry(config(), environment_of_all_stores());
  Index<std::string, int> index(name(), {.registry = &registry});
  index.insert("a", 1);
  registry["default"].set("k", 1);
  registry["default"].erase_pattern("*");
  static_cast<void>(registry["default"].maintenance().expire());
  EXPECT_EQ(index.find("a"), 1);
  registry["default"].clear();
  EXPECT_EQ(index.find("a").has_value(), !is("redis")) << "clear() empties redis's database";
  index.clear();
}

TEST_P(IndexStores, ShareAnIndexBetweenProcesses) {
  if (GetParam().is_private) return;
  const Config shared = config();
  const std::string of_both = name();
  const pid_t child = ::fork();
  if (child == 0) {
    CacheRegistry registry(shared, environment_of_all_stores());
    Index<int, std::string> index(of_both, {.registry = &registry});
    for (int i = 0; i < 10; ++i) index.insert(i, "child");
    ::_exit(index.size() == 10 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  CacheRegistry registry(shared, environment_of_all_stores());
  Index<int, std::string> index(of_both, {.registry = &registry});
  EXPECT_EQ(index.size(), 10U);
  EXPECT_EQ(index.popitem(), (std::pair<int, std::string>(9, "child")));
  Index<std::string, std::string> of_other_keys(of_both, {.registry = &registry});
  EXPECT_THROW(of_other_keys.size(), ValueError);
  index.clear();
}

// A session may remember where an index is: here it reads before each change by another thread or
// process.
template <class Other>
void expect_that_a_remade_index_is_seen(CacheRegistry& registry, const std::string& name,
                                        Other elsewhere) {
  using Texts = Index<std::string, std::string>;
  using Numbers = Index<std::string, std::int64_t>;
  for (const bool by_key : {true, false}) {
    const CollectionOptions options{.registry = &registry};
    Texts texts = by_key ? Texts(name, options) : Texts::by_insertion(name, options);
    const auto remake = [&](bool of_numbers) {
      elsewhere([&name, by_key, of_numbers](CacheRegistry& its_registry) {
        const CollectionOptions there{.registry = &its_registry};
        Numbers numbers = by_key ? Numbers(name, there) : Numbers::by_insertion(name, there);
        numbers.clear();
        if (of_numbers) return numbers.insert("a", 1) && numbers.insert("b", 2);
        Texts fresh = by_key ? Texts(name, there) : Texts::by_insertion(name, there);
        return fresh.insert("b", "new") && fresh.insert("c", "new");
      });
    };
    const auto size = [&] {
      std::size_t seen = 0;
      for (const auto& item : texts) seen += item.second == "new" ? 1 : 0;
      return seen;
    };
    texts.clear();
    EXPECT_TRUE(texts.insert("a", "old"));
    EXPECT_EQ(texts.find("a"), "old");
    remake(true);
    EXPECT_THROW(texts.find("a"), ValueError);
    EXPECT_THROW(texts.contains("x"), ValueError);
    EXPECT_THROW(texts.insert("a", "mine"), ValueError);
    EXPECT_THROW(texts.insert_or_assign("a", "mine"), ValueError);
    EXPECT_THROW(texts.insert_or_assign("x", "mine"), ValueError);
    EXPECT_THROW(texts.erase("a"), ValueError);
    EXPECT_THROW(texts.popitem(), ValueError);
    EXPECT_THROW(texts.size(), ValueError);
    EXPECT_THROW(size(), ValueError);
    remake(false);
    EXPECT_EQ(texts.find("a"), std::nullopt);
    EXPECT_EQ(texts.find("b"), "new");
    remake(false);
    EXPECT_EQ(size(), 2U);
    remake(false);
    EXPECT_EQ(texts.popitem(IndexEnd::first), (std::pair<std::string, std::string>("b", "new")));
    remake(false);
    EXPECT_FALSE(texts.insert("b", "mine"));
    remake(false);
    EXPECT_TRUE(texts.insert("a", "new"));
    EXPECT_EQ(size(), 3U);
    remake(false);
    EXPECT_FALSE(texts.insert_or_assign("c", "mine"));
    EXPECT_EQ(size(), 1U);
    remake(false);
    EXPECT_TRUE(texts.insert_or_assign("d", "new"));
    EXPECT_EQ(texts.size(), 3U);
    remake(false);
    EXPECT_TRUE(texts.erase("c"));
    EXPECT_EQ(texts.size(), 1U);
    texts.clear();
    EXPECT_TRUE(texts.insert("a", "again"));
    EXPECT_EQ(texts.popitem(), (std::pair<std::string, std::string>("a", "again")));
    texts.clear();
  }
}

TEST_P(IndexStores, SeeAnIndexThatAnotherThreadHasClearedAndMadeAgain) {
  CacheRegistry registry(config(), environment_of_all_stores());
  expect_that_a_remade_index_is_seen(registry, name(), [&](const auto& f) {
    bool done = false;
    std::thread([&] { done = f(registry); }).join();
    EXPECT_TRUE(done);
  });
}

TEST_P(IndexStores, SeeAnIndexThatAnotherProcessHasClearedAndMadeAgain) {
  if (GetParam().is_private) return;
  const Config shared = config();
  CacheRegistry registry(shared, environment_of_all_stores());
  expect_that_a_remade_index_is_seen(registry, name(), [&](const auto& f) {
    const pid_t child = ::fork();
    if (child == 0) {
      CacheRegistry of_child(shared, environment_of_all_stores());
      ::_exit(f(of_child) ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  });
}

TEST_P(IndexStores, RefuseAValueThatIsTooLarge) {
  if (is("locmem")) return;
  CacheRegistry registry(config({{"max_value_bytes", std::string("64KiB")}}),
                         environment_of_all_stores());
  Index<int, std::string> index(name(), {.registry = &registry});
  EXPECT_THAT(message_of<ValueError>([&] { index.insert(1, std::string(70'000, 'x')); }),
              HasSubstr("max_value_bytes"));
  EXPECT_TRUE(index.empty());
  index.clear();
}

INSTANTIATE_TEST_SUITE_P(Stores, IndexStores,
                         ::testing::Values(locmem_store, sqlite_store, redis_store), name_of);

// --- Of single stores ---

TEST(IndexOnSqlite, IsInADatabaseOfItsOwn) {
  const TemporaryFolder folder;
  const std::string file = folder.path() / "cache.db";
  const Config config{.caches = {{"default", {.backend = "sqlite", .location = {file}}}}};
  {
    CacheRegistry registry(config, environment_of_all_stores());
    Index<int, int> index("kept", {.registry = &registry});
    index.insert(1, 2);
    registry["default"].set("k", 1);
  }
  EXPECT_TRUE(std::filesystem::exists(file + "-collections"));
  std::filesystem::remove(file);
  std::filesystem::remove(file + "-wal");
  std::filesystem::remove(file + "-shm");
  CacheRegistry registry(config, environment_of_all_stores());
  EXPECT_EQ(registry["default"].get<int>("k"), std::nullopt);
  EXPECT_EQ((Index<int, int>("kept", {.registry = &registry}).find(1)), 2);
}

TEST(IndexOnRedis, IsRefusedWhereTheServerMayEvictIt) {
  const auto server = Server::redis({"--maxmemory-policy", "allkeys-lru"});
  CacheRegistry registry(
      {.caches = {{"default", {.backend = "redis", .location = {server->address()}}}}},
      environment_of_all_stores());
  EXPECT_THAT(message_of<ConfigError>([&] { Index<int, int>("x", {.registry = &registry}); }),
              HasSubstr("may evict"));
  Index<int, int> accepted("x", {.evicting_store = EvictingStore::accept, .registry = &registry});
  EXPECT_TRUE(accepted.insert(1, 2));
}

TEST(IndexOnRedis, ThrowsWhileTheServerIsDown) {
  const auto server = Server::redis();
  CacheRegistry registry(
      {.caches = {{"default", {.backend = "redis", .location = {server->address()}}}}},
      environment_of_all_stores());
  Index<int, int> index("x", {.registry = &registry});
  EXPECT_TRUE(index.insert(1, 2));
  server->kill9();
  EXPECT_THROW(index.find(1), BackendError);
  EXPECT_THROW(index.insert(2, 2), BackendError);
  EXPECT_THROW(index.popitem(), BackendError);
  EXPECT_THROW(index.begin(), BackendError);
}

TEST(IndexOnMemcached, IsRefusedWithTheStoresThatCan) {
  CacheRegistry registry(
      {.caches = {{"default", {.backend = "memcached", .location = memcached_store.location()}}}},
      environment_of_all_stores());
  const auto message =
      message_of<BackendError>([&] { Index<int, int>("x", {.registry = &registry}); });
  EXPECT_THAT(message, HasSubstr("\"memcached\" has no indexes"));
  EXPECT_THAT(message, HasSubstr("these can: locmem, redis, sqlite"));
}

}  // namespace
}  // namespace polycache::testing
