// A handle of one value in a cache: its key is named once.
//
//   polycache::Cached<> report("report:42");           // any JSON value
//   report.set({{"total", 17}}, 60);                   // for 60 seconds
//   if (const auto value = report.value()) use(*value);
//   report.erase();
//
//   polycache::Cached<User> current("user:42");        // of a type of one's own
//   current.set(user, 1h);
//
// A handle is small, and can be copied. One that is made with an alias may be used by all threads
// at once; one that is made with a Cache belongs to that cache's thread. Neither must be used after
// its registry has ended. What the store's failures do is the alias's policy ("on_error"), as for
// the functions of Cache that a handle calls.

#pragma once

#include <chrono>
#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "polycache/cache.h"
#include "polycache/cache_handle.h"
#include "polycache/codec_json.h"
#include "polycache/key.h"
#include "polycache/options.h"

namespace polycache {

// How long a handle's value stays: seconds as a plain number, a duration, a moment, a Timeout; or
// nothing: for ever, whatever default the alias has. Zero or less, or a moment in the past: the
// value is erased instead. NaN throws std::invalid_argument.
class Expiration {
 public:
  constexpr Expiration() noexcept : timeout_(Timeout::never()) {}
  // NOLINTBEGIN(google-explicit-constructor): set(value, 60)
  template <class Number>
  requires(std::is_arithmetic_v<Number> && !std::same_as<Number, bool> &&
           !std::same_as<Number, char>)  //
      constexpr Expiration(Number seconds)
      : timeout_(std::chrono::duration<Number>(seconds)) {}
  template <class Time>
  requires(std::constructible_from<Timeout, Time> && !std::is_arithmetic_v<Time>)  //
      constexpr Expiration(Time time)
      : timeout_(time) {}
  // NOLINTEND(google-explicit-constructor)

  constexpr const Timeout& timeout() const noexcept { return timeout_; }

 private:
  Timeout timeout_;
};

struct CachedOptions {
  std::string cache = "default";      // the alias
  CacheRegistry* registry = nullptr;  // [that of polycache::caches]
};

namespace detail {

// What a handle does that does not depend on its type.
class CachedKey {
 public:
  // As the user wrote it.
  const std::string& key() const noexcept { return key_; }

  // Whether the store has a live entry. It may be gone before value() is called: ask value() alone
  // where the value is wanted.
  bool exists() const;

  // Removes the entry. Returns whether there was one.
  bool erase() const;

 protected:
  CachedKey(CacheHandle cache, KeyView key);

  // Throws ConfigError if there is no such alias.
  Cache& cache() const { return cache_.get(); }

 private:
  CacheHandle cache_;
  std::string key_;
};

}  // namespace detail

template <class T = nlohmann::json>
class Cached : public detail::CachedKey {
 public:
  // Does not look at the store, nor at the configuration.
  explicit Cached(KeyView key, CachedOptions options = {})
      : CachedKey(CacheHandle(std::move(options.cache), options.registry), key) {}
  Cached(Cache& cache, KeyView key) : CachedKey(CacheHandle(cache), key) {}

  // Stores the value, replacing any older one. Returns false if the store refused it, as
  // Cache::set() does.
  bool set(const T& value, Expiration expiration = {}) const {
    return cache().set(key(), value, WriteOptions{.timeout = expiration.timeout()});
  }

  // The value, or empty if it is absent, expired, or not a T (with a warning).
  std::optional<T> value() const { return cache().template get<T>(key()); }
};

}  // namespace polycache
