// The state of an alias: its store, its keys, its defaults. Made by the registry, shared by all
// threads' Caches, and kept until the last of them has moved on. Immutable, except for the flights
// and the record of the store's failures.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "front/backend_call.h"
#include "front/failsafe.h"
#include "front/flights.h"
#include "front/key_policy.h"
#include "front/tally.h"
#include "polycache/author/backend.h"
#include "polycache/config.h"
#include "polycache/observer.h"
#include "polycache/options.h"
#include "polycache/registry.h"
#include "polycache/warning.h"

namespace polycache {

class CacheState {
 public:
  struct Parts {
    CacheInfo info;
    KeyPolicy keys;
    Timeout timeout;
    OnError on_error;
    ClearScope clear;
    bool key_warnings;
    const Clock& clock;
    WarningHandler on_warning;
    std::shared_ptr<Observer> observer = {};
    std::shared_ptr<TallyBook> tallies = std::make_shared<TallyBook>();
    std::shared_ptr<BackendFactory> factory;  // null for a deferred error
  };
  explicit CacheState(Parts parts);

  const CacheInfo& info() const noexcept { return parts_.info; }
  const std::string& alias() const noexcept { return parts_.info.alias; }
  const KeyPolicy& keys() const noexcept { return parts_.keys; }
  const Clock& clock() const noexcept { return parts_.clock; }
  OnError on_error() const noexcept { return parts_.on_error; }
  ClearScope clear_scope() const noexcept { return parts_.clear; }
  Flights& flights() noexcept { return flights_; }
  const std::shared_ptr<BackendFactory>& factory() const noexcept { return parts_.factory; }

  // Opens a session. Throws what the factory throws.
  std::unique_ptr<Backend> connect() const;

  // Makes the final key in `out` and delivers its warnings. Throws InvalidKey.
  std::string_view compose(FinalKey& out, std::string_view key, std::optional<int> version) const {
    const KeyIssues issues = parts_.keys.compose(out, key, version);
    const std::string_view final_key = out.view();
    if (issues.any() || traits_.key_rules == KeyRules::custom) [[unlikely]]
      judge_key(final_key, issues);
    return final_key;
  }

  // How long to keep a value; empty if it has already expired.
  std::optional<Ttl> resolve(const Timeout& timeout) const {
    return timeout.is_default() && default_is_fixed_ ? default_ttl_ : lifetime(timeout);
  }

  // Calls the warning handler.
  void warn(Warning::Kind kind, std::string_view key, std::string_view message,
            std::uint64_t count = 1) const;

  // The same for a warning that a store reported during a call.
  void deliver(const BackendCall::Kept& kept) const;

  Failsafe& failsafe() noexcept { return failsafe_; }
  Observer* observer() const noexcept { return parts_.observer.get(); }
  TallyBook& tallies() const noexcept { return *parts_.tallies; }
  // Continues the counts of the alias. REQUIRES: no Cache has this state yet
  void count_on(const CacheState& older) noexcept { parts_.tallies = older.parts_.tallies; }

  // Whether the sessions offer PaddedNumbersExtension. False until one has been opened.
  bool store_pads_numbers() const noexcept {
    return store_pads_numbers_.load(std::memory_order_relaxed);
  }

  // "redis (/usr/lib/polycache/polycache_redis.so)": names the plugin whose code threw.
  std::string plugin() const;

 private:
  std::optional<Ttl> lifetime(const Timeout& timeout) const;
  void judge_key(std::string_view final_key, KeyIssues issues) const;

  Parts parts_;
  StoreTraits traits_;
  bool default_is_fixed_;  // not a moment, whose distance shrinks
  std::optional<Ttl> default_ttl_;
  Flights flights_;
  Failsafe failsafe_;
  mutable std::atomic<bool> store_pads_numbers_{false};
};

}  // namespace polycache
