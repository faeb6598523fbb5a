// For one scope, polycache::caches is a set of fresh caches in memory, on a clock that only the
// test moves:
//
//   TEST(Users, AreRememberedForFiveMinutes) {
//     polycache::testing::ScopedCaches tests;         // the alias "default"
//     EXPECT_EQ(find_user(7).name, "Ada");            // uses polycache::caches["default"]
//     EXPECT_EQ(tests.recording().count("put"), 1U);  // calls to the store
//     tests.clock().advance(5min);
//     tests.chaos().set({.fail = 1});                 // the store goes down
//     ...
//
// or the aliases of a configuration, with their prefixes, versions, timeouts, key functions and
// layers, every store of it replaced:
//
//     ScopedCaches tests(Config::from_file("caches.json"));
//
// When the scope ends, the global registry is what it was before, made or not. The scope applies
// to the thread that made it and to threads that have no scope of their own. If several threads
// have different scopes at the same time, other threads must choose one (in_this_thread()), or
// get a CacheError. Scopes nest. Destroy a scope on the thread that made it, and end threads that
// use caches first. A Cache reference from before the scope is not affected; operations on one
// from inside throw CacheError afterwards.

#pragma once

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/registry.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "polycache/testing/recording_layer.h"

namespace polycache::testing {

struct ScopedCachesOptions {
  // Layers and key functions that the configuration names and the test program links.
  std::vector<const PluginDescriptor*> linked_plugins = {};

  // Called for each warning, in addition to ScopedCaches::warnings(). If it throws, the operation
  // throws.
  WarningHandler on_warning = {};
};

class ScopedCaches {
 public:
  ScopedCaches() : ScopedCaches({"default"}) {}
  explicit ScopedCaches(std::initializer_list<std::string_view> aliases,
                        ScopedCachesOptions options = {})
      : ScopedCaches(config_of(aliases), std::move(options)) {}
  // Throws ConfigError if a layer or a key function of the configuration is missing or wrong. The
  // stores' own options are ignored.
  explicit ScopedCaches(Config config, ScopedCachesOptions options = {})
      : shared_(std::make_shared<Shared>()),
        recording_(Recording::named("", shared_->clock)),
        chaos_(chaos_of(config, shared_)),
        stores_(replace_stores(config, shared_->clock)),
        registry_(std::move(config), environment(std::move(options))),
        scope_(std::make_unique<ScopedGlobalRegistry>(registry_)) {}
  ScopedCaches(const ScopedCaches&) = delete;
  ScopedCaches& operator=(const ScopedCaches&) = delete;
  ~ScopedCaches() {
    scope_.reset();
    registry_.close_all();
    // Caches from open() and of other threads may keep the stores.
    for (const auto& store : stores_) store->clear();
    recording_->clear();
  }

  ManualClock& clock() noexcept { return shared_->clock; }
  CacheRegistry& registry() noexcept { return registry_; }
  Cache& operator[](std::string_view alias) { return registry_[alias]; }

  // The calls to the stores of all aliases, behind the layers of the configuration. (An alias that
  // has a layer "recording" itself records there.)
  Recording& recording() noexcept { return *recording_; }

  // Makes the store of that alias fail. Its delays advance the clock. Throws ConfigError if there
  // is no such alias.
  Chaos& chaos(std::string_view alias = "default") {
    const auto chaos = chaos_.find(alias);
    if (chaos == chaos_.end()) throw ConfigError("there is no cache " + quote(alias));
    return *chaos->second;
  }

  // The messages of all warnings so far.
  std::vector<std::string> warnings() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->warnings;
  }

  // For other threads: makes this the calling thread's global registry while the result exists.
  [[nodiscard]] ScopedGlobalRegistry in_this_thread() { return ScopedGlobalRegistry(registry_); }

 private:
  // State that caches may still use after the scope has ended.
  struct Shared {
    ManualClock clock;
    std::mutex mutex;
    std::vector<std::string> warnings;  // guarded by the mutex
  };
  using ChaosByAlias = std::map<std::string, std::shared_ptr<Chaos>, std::less<>>;

  static Config config_of(std::initializer_list<std::string_view> aliases) {
    Config config;
    for (const std::string_view alias : aliases) {
      config.caches[std::string(alias)] = {.backend = "memory", .location = {std::string(alias)}};
    }
    return config;
  }

  static ChaosByAlias chaos_of(const Config& config, const std::shared_ptr<Shared>& shared) {
    ChaosByAlias all;
    for (const auto& [alias, cache] : config.caches) {
      const auto chaos = Chaos::named(alias, shared->clock);
      chaos->sleep_by([shared](std::chrono::milliseconds time) { shared->clock.advance(time); });
      all.emplace(alias, chaos);
    }
    return all;
  }

  // Aliases that shared a store still share one.
  static std::vector<std::shared_ptr<MemoryStore>> replace_stores(Config& config,
                                                                  const Clock& clock) {
    std::vector<std::shared_ptr<MemoryStore>> stores;
    for (auto& [alias, cache] : config.caches) {
      cache.location.insert(cache.location.begin(), cache.backend);
      cache.options = {};
      if (cache.backend == "memcached") cache.options["keys"] = "strict";
      cache.backend = "memory";
      stores.push_back(
          shared_by_name<MemoryStore>(MemoryStoreFactory::name_of(cache.location), clock));
      // Behind the configuration's layers, unless it has placed them itself.
      const auto has = [&layers = cache.layers](std::string_view name) {
        return std::any_of(layers.begin(), layers.end(),
                           [&](const LayerConfig& layer) { return layer.name == name; });
      };
      for (const char* const name : {"recording", "chaos"}) {
        if (!has(name)) cache.layers.push_back({.name = name});
      }
    }
    return stores;
  }

  Environment environment(ScopedCachesOptions options) const {
    options.linked_plugins.insert(options.linked_plugins.end(),
                                  {&memory_store, &recording_layer, &chaos_layer});
    // Every object with the clock also has the handler, which therefore keeps the clock alive.
    return {.clock = &shared_->clock,
            .on_warning =
                [shared = shared_, also = std::move(options.on_warning)](const Warning& warning) {
                  {
                    const std::lock_guard lock(shared->mutex);
                    shared->warnings.emplace_back(warning.message);
                  }
                  if (also) also(warning);
                },
            .linked_plugins = std::move(options.linked_plugins)};
  }

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<Recording> recording_;
  ChaosByAlias chaos_;
  std::vector<std::shared_ptr<MemoryStore>> stores_;
  CacheRegistry registry_;
  std::unique_ptr<ScopedGlobalRegistry> scope_;
};

}  // namespace polycache::testing
