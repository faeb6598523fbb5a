// Abilities that only some stores have. A Backend provides them by name; the core and recipes
// request them and report a missing one. A new ability adds a struct here and changes nothing else.
// Every stock store is tested for the extensions it offers.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "polycache/author/backend.h"
#include "polycache/net/circuit_breaker.h"

namespace polycache {

// Reads values with their remaining lifetimes. Reads the entry itself, never a replica that may lag
// behind: pop, incr_version and the second look of get_or_set use it.
struct TtlExtension {
  static constexpr std::string_view id = "polycache.ttl/1";
  using Sink = FunctionRef<void(std::size_t index, std::string_view value, Ttl left)>;
  virtual bool get(std::string_view key,
                   FunctionRef<void(std::string_view value, Ttl left)> sink) = 0;
  virtual void get_many(std::span<const std::string_view> keys, Sink sink) = 0;

 protected:
  ~TtlExtension() = default;
};

// Atomic compare-and-put and compare-and-erase: the basis of locks and leases, and of pop if the
// store has nothing better. Neither creates an entry.
struct CompareExtension {
  static constexpr std::string_view id = "polycache.compare/1";
  // Replaces the value if the stored bytes equal `expected`. Without ttl, keeps the lifetime.
  // Returns whether it replaced the value.
  virtual bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                            std::optional<Ttl> ttl) = 0;
  virtual bool erase_if_equal(std::string_view key, std::string_view expected) = 0;

 protected:
  ~CompareExtension() = default;
};

// Reads and removes in one step, for stores that do it in one round trip.
struct PopExtension {
  static constexpr std::string_view id = "polycache.pop/1";
  // Removes a live entry and calls `sink` once with its value; of several concurrent callers, one
  // gets it. Returns whether there was one.
  virtual bool pop(std::string_view key, ValueSink sink) = 0;

 protected:
  ~PopExtension() = default;
};

// Indicates that the store's server may append blanks to a number that another client decremented,
// as memcached does ("10" becomes "9 "). If the stored bytes are digits followed only by blanks and
// are not a value of the wanted type, the core reads the digits alone. The extension has no
// functions. The store's own incr() accepts the same form.
struct PaddedNumbersExtension {
  static constexpr std::string_view id = "polycache.padded_numbers/1";

 protected:
  ~PaddedNumbersExtension() = default;
};

// Removes all keys with a given prefix ("clear": "prefix").
struct ErasePrefixExtension {
  static constexpr std::string_view id = "polycache.erase_prefix/1";
  // Returns how many entries were removed; expired ones may be counted.
  virtual std::size_t erase_prefix(std::string_view prefix) = 0;

 protected:
  ~ErasePrefixExtension() = default;
};

// Predicts which calls the store would refuse immediately because a server's circuit breaker is
// open (circuit_breaker.h). While something is wrong, the core asks before each call, so that a
// refused call needs no exception; otherwise it does not ask. For stores with
// StoreTraits::breaks_circuits. Makes no system call, takes no lock, throws nothing.
struct AdmissionExtension {
  static constexpr std::string_view id = "polycache.admission/1";
  // Whether a call for this key may be made, even as a probe; the call itself takes the right to
  // probe. True if the store does something useful without its server.
  virtual bool admits(std::string_view key, Access access) const noexcept = 0;
  // Whether every call is admitted, and none as a probe: the core need not ask again until a call
  // fails.
  virtual bool admits_all() const noexcept = 0;

 protected:
  ~AdmissionExtension() = default;
};

// Reports the condition of a store's servers to CacheRegistry::health(), which reads an entry from
// stores without this extension.
struct HealthExtension {
  static constexpr std::string_view id = "polycache.health/1";
  struct Server {
    std::string_view name;  // "127.0.0.1:6379", without credentials
    bool reachable = false;
    std::chrono::nanoseconds round_trip{};  // if reachable
    CircuitBreaker::State breaker = CircuitBreaker::State::closed;
    std::string_view error = {};  // why it is not reachable
  };
  // Sends each server a small request, within the limits of one operation and whatever its
  // breaker's state, and calls `sink` with the result. Throws nothing about a server.
  virtual void check(FunctionRef<void(const Server&)> sink) = 0;

 protected:
  ~HealthExtension() = default;
};

// Releases what a store keeps for its next operations: connections that no operation is using. A
// registry calls it when it ends, and for a configuration that is replaced: sessions of other
// threads may still be open and receive no notice.
struct IdleExtension {
  static constexpr std::string_view id = "polycache.idle/1";
  // Closes the idle connections of all sessions of the factory. Never blocks. Sessions that are
  // used afterwards reconnect.
  virtual void close_idle() noexcept = 0;

 protected:
  ~IdleExtension() = default;
};

}  // namespace polycache
