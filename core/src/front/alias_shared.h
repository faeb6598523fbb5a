// What all caches of an alias share, whatever their keys: its store, the computations in progress,
// the record of the store's failures, the counts. Made by the registry, and kept until the last
// cache has moved on. A cache within a cache shares it and has keys of its own (cache_state.h).

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "front/backend_call.h"
#include "front/flights.h"
#include "front/retries.h"
#include "front/store_record.h"
#include "front/tag_version_cache.h"
#include "front/tally.h"
#include "front/transforms.h"
#include "polycache/author/backend.h"
#include "polycache/cache_info.h"
#include "polycache/environment.h"
#include "polycache/warning.h"

namespace polycache {

// Thread-safe.
class AliasShared {
 public:
  struct Parts {
    CacheInfo info;
    std::shared_ptr<const Environment> environment;  // what caches use of it
    // The registry's. Weak: a job that ends last must not destroy the executor that runs it.
    std::weak_ptr<Executor> executor = {};
    std::shared_ptr<BackendFactory> factory;
    std::shared_ptr<StoreRecord> store_record;  // shared with breaking_factory.h
    Transforms transforms = {};
    // How long versions of tags are believed; zero: not at all.
    std::chrono::milliseconds tag_version_cache{};
    std::shared_ptr<TallyBook> tallies = std::make_shared<TallyBook>();
  };
  explicit AliasShared(Parts parts);

  const CacheInfo& info() const noexcept { return parts_.info; }
  const std::string& alias() const noexcept { return parts_.info.alias; }
  const Environment& environment() const noexcept { return *parts_.environment; }
  const Clock& clock() const noexcept { return *parts_.environment->clock; }
  const StoreTraits& traits() const noexcept { return traits_; }
  const std::shared_ptr<BackendFactory>& factory() const noexcept { return parts_.factory; }
  const Transforms& transforms() const noexcept { return parts_.transforms; }
  // Runs background work. Null once the registry has ended; after CacheRegistry::shutdown(), it
  // refuses every job.
  std::shared_ptr<Executor> executor() const noexcept { return parts_.executor.lock(); }

  // Opens a session. Throws what the factory throws.
  std::unique_ptr<Backend> connect() const;

  // Calls the warning handler.
  void warn(Warning::Kind kind, std::string_view key, std::string_view message,
            std::uint64_t count = 1) const;
  // The same for the warnings that the store reported during a call, and empties it.
  void deliver(BackendCall& call) const;

  Flights& flights() noexcept { return flights_; }
  Retries& retries() noexcept { return retries_; }
  // Null if versions of tags are not remembered.
  TagVersionCache* tag_versions() const noexcept { return tag_versions_.get(); }
  StoreRecord& store_record() noexcept { return *parts_.store_record; }
  Observer* observer() const noexcept { return observer_; }
  TallyBook& tallies() const noexcept { return *parts_.tallies; }
  // Continues the counts of the alias. REQUIRES: no Cache uses this yet
  void count_on(const AliasShared& older) noexcept { parts_.tallies = older.parts_.tallies; }

  // Whether the sessions offer PaddedNumbersExtension. False until one has been opened.
  bool store_pads_numbers() const noexcept {
    return store_pads_numbers_.load(std::memory_order_relaxed);
  }
  // Whether the core asks the sessions for stamps of tags (TagStampExtension). False until one has
  // been opened, and if versions are remembered: these may be outdated.
  bool has_tag_stamps() const noexcept { return has_tag_stamps_.load(std::memory_order_relaxed); }

  // "redis (/usr/lib/polycache/polycache_redis.so)": names the plugin whose code threw.
  std::string plugin() const;

 private:
  Parts parts_;
  const StoreTraits traits_;
  Observer* const observer_;  // the environment's
  Flights flights_;
  Retries retries_;
  const std::unique_ptr<TagVersionCache> tag_versions_;
  mutable std::atomic<bool> store_pads_numbers_{false};
  mutable std::atomic<bool> has_tag_stamps_{false};
};

}  // namespace polycache
