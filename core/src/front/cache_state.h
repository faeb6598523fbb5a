// What a Cache works with: what its alias shares, and a key space of its own. Immutable; shared by
// all threads' Caches and kept until the last of them has moved on.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "front/alias_shared.h"
#include "front/key_policy.h"
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
};

class CacheState {
 public:
  CacheState(std::shared_ptr<AliasShared> shared, KeySpace space);

  AliasShared& shared() const noexcept { return *shared_; }

  // --- The key space. ---

  const KeyPolicy& keys() const noexcept { return space_.keys; }
  OnError on_error() const noexcept { return space_.on_error; }
  ClearScope clear_scope() const noexcept { return space_.clear; }

  // Makes the final key in `out` and delivers its warnings. Throws InvalidKey.
  std::string_view compose(FinalKey& out, std::string_view key, std::optional<int> version) const {
    const KeyIssues issues = space_.keys.compose(out, key, version);
    const std::string_view final_key = out.view();
    if (issues.any() || key_rules_ == KeyRules::custom) [[unlikely]]
      judge_key(final_key, issues);
    return final_key;
  }

  // How long to keep a value; empty if it has already expired.
  std::optional<Ttl> resolve(const Timeout& timeout) const {
    return timeout.is_default() && default_is_fixed_ ? default_ttl_ : lifetime(timeout);
  }

  // --- What the alias shares. ---

  const std::string& alias() const noexcept { return shared_->alias(); }
  const Clock& clock() const noexcept { return shared_->clock(); }
  const Transforms& transforms() const noexcept { return shared_->transforms(); }
  // Whether an entry that no transform has changed is a value.
  bool reads_plain() const noexcept { return reads_plain_; }
  Flights& flights() const noexcept { return shared_->flights(); }
  Failsafe& failsafe() const noexcept { return shared_->failsafe(); }
  Observer* observer() const noexcept { return shared_->observer(); }
  TallyBook& tallies() const noexcept { return shared_->tallies(); }
  void warn(Warning::Kind kind, std::string_view key, std::string_view message,
            std::uint64_t count = 1) const {
    shared_->warn(kind, key, message, count);
  }

 private:
  std::optional<Ttl> lifetime(const Timeout& timeout) const;
  void judge_key(std::string_view final_key, KeyIssues issues) const;

  const std::shared_ptr<AliasShared> shared_;
  const KeySpace space_;
  const KeyRules key_rules_;
  const bool default_is_fixed_;  // not a moment, whose distance shrinks
  const std::optional<Ttl> default_ttl_;
  const bool reads_plain_;
};

}  // namespace polycache
