// All five stores and a third party's in one program, with nothing loaded.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/stock_abilities.h"
#include "polycache/author/extension_list.h"
#include "polycache/author/plugin.h"
#include "polycache/backends/dummy.h"
#include "polycache/backends/locmem.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/backends/sqlite.h"
#include "polycache/error.h"
#include "polycache/polycache.h"
#include "support/server.h"

namespace polycache {
namespace {

// A third party's: the five required functions over a map, lifetimes left out.
class MapFactory final : public BackendFactory {
 public:
  std::unique_ptr<Backend> connect() override { return std::make_unique<Session>(*this); }

 private:
  class Session final : public Backend {
   public:
    explicit Session(MapFactory& factory) : factory_(factory) {}
    bool get(std::string_view key, ValueSink sink) override {
      std::string value;
      {
        const std::lock_guard lock(factory_.mutex_);
        const auto it = factory_.map_.find(key);
        if (it == factory_.map_.end()) return false;
        value = it->second;
      }
      sink(value);
      return true;
    }
    bool put(std::string_view key, std::string_view value, Ttl, PutMode mode) override {
      const std::lock_guard lock(factory_.mutex_);
      const bool present = factory_.map_.contains(key);
      if (mode == PutMode::if_absent && present) return false;
      if (mode == PutMode::if_present && !present) return false;
      factory_.map_.insert_or_assign(std::string(key), std::string(value));
      return true;
    }
    bool touch(std::string_view key, Ttl, ValueSink) override {
      const std::lock_guard lock(factory_.mutex_);
      return factory_.map_.contains(key);
    }
    bool erase(std::string_view key) override {
      const std::lock_guard lock(factory_.mutex_);
      const auto it = factory_.map_.find(key);
      if (it == factory_.map_.end()) return false;
      factory_.map_.erase(it);
      return true;
    }
    void clear() override {
      const std::lock_guard lock(factory_.mutex_);
      factory_.map_.clear();
    }

   private:
    MapFactory& factory_;
  };

  std::mutex mutex_;  // guards map_
  std::map<std::string, std::string, std::less<>> map_;
};

constexpr PluginDescriptor third_party = backend_plugin(
    "map", "0.1",
    [](const OptionReader&, const BackendContext&) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<MapFactory>();
    });

TEST(AllLinked, SixStoresInOneProgram) {
  const testing::TemporaryFolder folder;
  const auto redis_server = testing::Server::redis();
  const auto memcached_server = testing::Server::memcached();
  const Config config{
      .caches = {
          {"dummy", {.backend = "dummy"}},
          {"locmem", {.backend = "locmem"}},
          {"sqlite", {.backend = "sqlite", .location = {folder.path() / "cache.db"}}},
          {"memcached", {.backend = "memcached", .location = {memcached_server->address()}}},
          {"redis", {.backend = "redis", .location = {"redis://" + redis_server->address()}}},
          {"map", {.backend = "map"}}}};
  CacheRegistry registry(config,
                         {.linked_plugins = {&dummy::plugin, &locmem::plugin, &sqlite::plugin,
                                             &memcached::plugin, &redis::plugin, &third_party}});
  for (const std::string& alias : registry.aliases()) {
    Cache& cache = registry[alias];
    EXPECT_TRUE(cache.set("k", alias));
    EXPECT_EQ(cache.get("k"), alias == "dummy" ? std::nullopt : std::optional(alias));
    EXPECT_EQ(cache.get_or_set("computed", [] { return 7; }), 7);
  }
  for (const CacheInfo& info : registry.describe()) EXPECT_EQ(info.plugin_file, "");
}

// Messages name the stores that can do what another one cannot.
TEST(AllLinked, EachStoreOffersWhatTheBuildSaysOfIt) {
  const testing::TemporaryFolder folder;
  const std::string nowhere = folder.path() / "closed.sock";
  const Config config{
      .caches = {{"dummy", {.backend = "dummy"}},
                 {"locmem", {.backend = "locmem"}},
                 {"sqlite", {.backend = "sqlite", .location = {folder.path() / "cache.db"}}},
                 {"memcached", {.backend = "memcached", .location = {"unix:" + nowhere}}},
                 {"redis", {.backend = "redis", .location = {"unix://" + nowhere}}}}};
  CacheRegistry registry(config,
                         {.linked_plugins = {&dummy::plugin, &locmem::plugin, &sqlite::plugin,
                                             &memcached::plugin, &redis::plugin}});
  for (const std::string& store : registry.aliases()) {
    for (const std::string_view id : SessionExtensions::ids) {
      const auto abilities = stock_abilities();
      const bool is_listed =
          std::any_of(abilities.begin(), abilities.end(),
                      [&](const StockAbility& one) { return one.store == store && one.id == id; });
      EXPECT_EQ(registry[store].backend().extension(id) != nullptr, is_listed)
          << store << ' ' << id;
    }
  }
  EXPECT_EQ(stores_that_offer(TagIndexExtension::id), "dummy, locmem, sqlite");
  EXPECT_EQ(stores_that_offer(IndexExtension::id), "locmem, redis, sqlite");
  EXPECT_EQ(stores_that_offer(LockExtension::id), "locmem, memcached, redis, sqlite");
  EXPECT_EQ(stores_that_offer(LimitExtension::id), "redis");
  EXPECT_EQ(stores_that_offer(DequeExtension::id), "locmem, redis, sqlite");
  EXPECT_EQ(stores_that_offer("polycache.nothing/1"), "");
}

TEST(AllLinked, AThirdPartysStoreWithoutExtensionsSaysThatItCannotCount) {
  CacheRegistry registry({.caches = {{"map", {.backend = "map"}}}},
                         {.linked_plugins = {&third_party}});
  registry["map"].set("n", 1);
  EXPECT_THROW(registry["map"].incr("n"), BackendError);
  EXPECT_EQ(registry["map"].pop<int>("n"), 1);
}

}  // namespace
}  // namespace polycache
