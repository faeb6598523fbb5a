// What a Cache works with: what its alias shares, and a key space of its own. Immutable; shared by
// all threads' Caches and kept until the last of them has moved on.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "front/alias_shared.h"
#include "front/key_policy.h"
#include "polycache/load_options.h"
#include "polycache/options.h"
#include "polycache/policy.h"
#include "polycache/warning.h"

namespace polycache {

// How keys are made, and what holds for their entries.
struct KeySpace {
  KeyPolicy keys;
  Timeout timeout;  // used if a call gives none
  OnError on_error;
  ClearScope clear;
  bool key_warnings;
  LoadPolicy load = {};  // what get_or_set() does if a call does not say it

  // The same with other keys, which a clear() is limited to.
  KeySpace within(KeyPolicy others) const {
    return {.keys = std::move(others),
            .timeout = timeout,
            .on_error = on_error,
            .clear = ClearScope::prefix,
            .key_warnings = key_warnings,
            .load = load};
  }
};

class CacheState {
 public:
  CacheState(std::shared_ptr<AliasShared> shared, KeySpace space);

  AliasShared& shared() const noexcept { return *shared_; }
  const std::shared_ptr<AliasShared>& shared_part() const noexcept { return shared_; }

  // --- The key space. ---

  const KeySpace& space() const noexcept { return space_; }
  const KeyPolicy& keys() const noexcept { return space_.keys; }
  OnError on_error() const noexcept { return space_.on_error; }
  ClearScope clear_scope() const noexcept { return space_.clear; }
  const LoadPolicy& load_policy() const noexcept { return space_.load; }
  bool has_load_policy() const noexcept { return has_load_policy_; }

  // Makes the final key in `out` and delivers its warnings. Throws InvalidKey.
  std::string_view compose(FinalKey& out, std::string_view key, std::optional<int> version) const {
    const KeyIssues issues = space_.keys.compose(out, key, version);
    const std::string_view final_key = out.view();
    if (issues.any() || key_rules_ == KeyRules::custom) [[unlikely]]
      check_final_key(final_key, issues);
    return final_key;
  }

  // Makes the key of a tag's version in `out`. Throws InvalidKey if the store cannot have it.
  void compose_tag_key(FinalKey& out, std::string_view name) const {
    const KeyIssues issues = space_.keys.compose_tag_key(out, name);
    if (issues.any() || key_rules_ == KeyRules::custom) [[unlikely]]
      check_tag_key(out.view(), issues);
  }
  std::string tag_key(std::string_view name) const {
    FinalKey key;
    compose_tag_key(key, name);
    return std::string(key.view());
  }
  // The key of a separate lease on an entry (lease.h). Throws as above.
  std::string lease_key(std::string_view final_key) const;

  // The key of a lock. Throws as above.
  std::string lock_key(std::string_view name) const;

  // Whether a value with that timeout never expires.
  bool never_ends(const Timeout& timeout) const noexcept {
    return (timeout.is_default() ? space_.timeout : timeout).is_never();
  }
  // How long to keep a value; empty if it has already expired.
  std::optional<Ttl> resolve(const Timeout& timeout) const {
    return timeout.is_default() && default_is_fixed_ ? default_ttl_ : lifetime(timeout);
  }

  // --- What the alias shares. ---

  // Whether the store is in this process, and is asked for the version of a tag each time: several
  // calls for several tags then cost no more than one.
  bool is_local() const noexcept { return is_local_; }
  // Whether versions that a call will need are better read together with its entry: they need a
  // request, which a stamp rarely saves.
  bool reads_versions_early() const noexcept { return !is_local_ && !shared_->has_tag_stamps(); }
  // Whether the store's plain reads never lag behind.
  bool reads_latest() const noexcept { return reads_latest_; }
  const std::string& alias() const noexcept { return shared_->alias(); }
  const Clock& clock() const noexcept { return shared_->clock(); }
  const Transforms& transforms() const noexcept { return shared_->transforms(); }
  // Whether an entry that no transform has changed is a value.
  bool reads_plain() const noexcept { return reads_plain_; }
  Flights& flights() const noexcept { return shared_->flights(); }
  // A write or an erasure of this key begins: a computation that is under way is not stored.
  void outdate(std::string_view final_key) const {
    if (flights().any()) [[unlikely]]
      flights().end_of(final_key);
  }
  StoreRecord& store_record() const noexcept { return shared_->store_record(); }
  Observer* observer() const noexcept { return observer_; }
  TallyBook& tallies() const noexcept { return shared_->tallies(); }
  void warn(Warning::Kind kind, std::string_view key, std::string_view message,
            std::uint64_t count = 1) const {
    shared_->warn(kind, key, message, count);
  }

 private:
  std::optional<Ttl> lifetime(const Timeout& timeout) const;
  void check_tag_key(std::string_view key, KeyIssues issues) const;
  void check_final_key(std::string_view final_key, KeyIssues issues) const;

  const std::shared_ptr<AliasShared> shared_;
  const KeySpace space_;
  const KeyRules key_rules_;
  const bool default_is_fixed_;  // not a moment, whose distance shrinks
  const std::optional<Ttl> default_ttl_;
  const bool reads_plain_;
  const bool is_local_;
  const bool reads_latest_;
  const bool has_load_policy_;
  Observer* const observer_;
};

}  // namespace polycache
