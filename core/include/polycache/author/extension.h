// Abilities that only some stores have. A Backend hands them out by name; core and
// recipes ask for them and say which is missing. Adding an ability adds a struct
// here and changes nothing else. Every stock store is tested for what it offers.

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

// Reading values with what is left of their lives. Reads the entry itself, never a
// replica that may lag behind: what pop, incr_version and the second look of get_or_set
// read with.
struct TtlExtension {
  static constexpr std::string_view id = "polycache.ttl/1";
  using Sink = FunctionRef<void(std::size_t index, std::string_view value, Ttl left)>;
  virtual bool get(std::string_view key,
                   FunctionRef<void(std::string_view value, Ttl left)> sink) = 0;
  virtual void get_many(std::span<const std::string_view> keys, Sink sink) = 0;

 protected:
  ~TtlExtension() = default;
};

// Atomic compare-and-put and compare-and-erase: the ground of locks and leases, and of pop
// where the store has nothing better. Neither creates an entry.
struct CompareExtension {
  static constexpr std::string_view id = "polycache.compare/1";
  // Replaces the value if the stored bytes equal `expected`. Without ttl the
  // lifetime stays. Returns whether it did.
  virtual bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                            std::optional<Ttl> ttl) = 0;
  virtual bool erase_if_equal(std::string_view key, std::string_view expected) = 0;

 protected:
  ~CompareExtension() = default;
};

// Reading and removing in one step, where the store does it in one round trip.
struct PopExtension {
  static constexpr std::string_view id = "polycache.pop/1";
  // Removes a live entry and calls `sink` once with its value; of several callers one gets
  // it. Returns whether there was one.
  virtual bool pop(std::string_view key, ValueSink sink) = 0;

 protected:
  ~PopExtension() = default;
};

// Says that the server behind the store may leave blanks behind a number that another client
// counted down, as memcached does ("10" becomes "9 "). The core then reads digits that are
// followed by blanks only as that number, where the bytes as they are were no value of the
// wanted type. It has no functions. The store's own incr() accepts the same form.
struct PaddedNumbersExtension {
  static constexpr std::string_view id = "polycache.padded_numbers/1";

 protected:
  ~PaddedNumbersExtension() = default;
};

// Removing all keys that begin with something ("clear": "prefix").
struct ErasePrefixExtension {
  static constexpr std::string_view id = "polycache.erase_prefix/1";
  // Returns how many entries were removed; expired ones may be counted.
  virtual std::size_t erase_prefix(std::string_view prefix) = 0;

 protected:
  ~ErasePrefixExtension() = default;
};

// Which calls a store would refuse at once, because it leaves a server alone that keeps
// failing (circuit_breaker.h). While something is wrong the core asks before it calls, so that
// a refused call costs no exception; while all is well nobody asks. For stores that say
// StoreTraits::breaks_circuits. Costs no system call, takes no lock, throws nothing.
struct AdmissionExtension {
  static constexpr std::string_view id = "polycache.admission/1";
  // Whether a call about this key may be made; also if it would be a probe, whose right is
  // taken by the call itself. True where the store does something useful without its server.
  virtual bool admits(std::string_view key, Access access) const noexcept = 0;
  // Whether every call is admitted, and none of them is a probe: nothing need be asked until
  // a call fails again.
  virtual bool admits_all() const noexcept = 0;

 protected:
  ~AdmissionExtension() = default;
};

// How the servers of a store are: CacheRegistry::health() asks. A store without it is asked
// for an entry instead.
struct HealthExtension {
  static constexpr std::string_view id = "polycache.health/1";
  struct Server {
    std::string_view name;  // "127.0.0.1:6379", without credentials
    bool reachable = false;
    std::chrono::nanoseconds round_trip{};  // if reachable
    CircuitBreaker::State breaker = CircuitBreaker::State::closed;
    std::string_view error = {};  // why it is not reachable
  };
  // Asks each server something small, within the limits of one operation each and whatever
  // its breaker says, and calls `sink` with what came of it. Throws nothing about a server.
  virtual void check(FunctionRef<void(const Server&)> sink) = 0;

 protected:
  ~HealthExtension() = default;
};

// Giving back what a store keeps for its next operations: connections that no operation has at
// the moment. The registry asks when it ends, and for the configuration that another one
// replaces: sessions of other threads may still be open, and hear nothing of it.
struct IdleExtension {
  static constexpr std::string_view id = "polycache.idle/1";
  // Closes the idle connections of all sessions of the factory. Never blocks. Sessions that are
  // used afterwards connect again.
  virtual void close_idle() noexcept = 0;

 protected:
  ~IdleExtension() = default;
};

}  // namespace polycache
