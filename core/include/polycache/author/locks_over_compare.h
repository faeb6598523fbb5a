// Locks on a store that can put if absent, and compare (CompareExtension), and has nothing better:
// each place of a lock is an entry of its own, whose value is the token of its owner.
//
//   LocksOverCompare locks_{*this, *this, LockExtension::Keeping::may_evict};
//   ...
//   if (id == LockExtension::id) return static_cast<LockExtension*>(&locks_);
//
// There are no fences, and the store evicts and clears the entries as any others. A lock takes one
// call of the store, its release one, a semaphore two each. Used by one thread at a time, as its
// session is.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/backend.h"
#include "polycache/author/extension.h"

namespace polycache {

class LocksOverCompare final : public LockExtension {
 public:
  // Both must outlive it.
  LocksOverCompare(Backend& session, CompareExtension& compare, Keeping keeping) noexcept
      : session_(session), compare_(compare), keeping_(keeping) {}
  LocksOverCompare(const LocksOverCompare&) = delete;
  LocksOverCompare& operator=(const LocksOverCompare&) = delete;

  Taken take(const Claim& claim, std::chrono::milliseconds lease) override {
    const Ttl ttl(lease);
    if (claim.permits > 1) return {.taken = take_place(claim, ttl)};
    return {.taken = session_.put(claim.key, claim.token, ttl, PutMode::if_absent) ||
                     compare_.put_if_equal(claim.key, claim.token, claim.token, ttl)};
  }

  bool renew(const Claim& claim, std::chrono::milliseconds lease) override {
    const std::optional<std::string> place = place_of(claim);
    return place && compare_.put_if_equal(*place, claim.token, claim.token, Ttl(lease));
  }

  bool release(const Claim& claim) override {
    const std::optional<std::string> place = place_of(claim);
    return place && compare_.erase_if_equal(*place, claim.token);
  }

  bool wait(std::string_view /*key*/, std::chrono::milliseconds /*limit*/) override {
    return false;
  }
  Keeping keeping() override { return keeping_; }

 private:
  struct Places {
    std::vector<std::string> keys;
    std::vector<bool> taken;
    std::optional<std::size_t> mine;
  };

  Places look(const Claim& claim) {
    Places places;
    places.keys.reserve(claim.permits);
    for (std::uint32_t i = 0; i < claim.permits; ++i) {
      places.keys.push_back(std::string(claim.key) + '.' + std::to_string(i));
    }
    places.taken.resize(places.keys.size());
    const std::vector<std::string_view> keys(places.keys.begin(), places.keys.end());
    session_.get_many(keys, [&](std::size_t i, std::string_view token) {
      places.taken[i] = true;
      if (token == claim.token) places.mine = i;
    });
    return places;
  }

  bool take_place(const Claim& claim, Ttl ttl) {
    const Places places = look(claim);
    if (places.mine) {
      const std::string& place = places.keys[*places.mine];
      if (compare_.put_if_equal(place, claim.token, claim.token, ttl)) return true;
    }
    // Those who come at once begin in different places.
    const std::size_t count = places.keys.size();
    const std::size_t first = std::hash<std::string_view>()(claim.token) % count;
    for (std::size_t n = 0; n < count; ++n) {
      const std::size_t i = (first + n) % count;
      if (places.taken[i]) continue;
      if (session_.put(places.keys[i], claim.token, ttl, PutMode::if_absent)) return true;
    }
    return false;
  }

  std::optional<std::string> place_of(const Claim& claim) {
    if (claim.permits <= 1) return std::string(claim.key);
    Places places = look(claim);
    if (!places.mine) return std::nullopt;
    return std::move(places.keys[*places.mine]);
  }

  Backend& session_;
  CompareExtension& compare_;
  const Keeping keeping_;
};

}  // namespace polycache
