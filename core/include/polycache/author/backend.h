// The interface that a backend author implements; nothing else is needed. Keys arrive final
// (prefixed, versioned, checked), values arrive as bytes, and lifetimes arrive resolved. Five
// functions are required. Override the others if the storage can do better than the generic
// version, and offer extensions (extension.h) for features that only some stores have.
//
// There are two classes. A BackendFactory is the part of a configured alias that threads share; a
// Backend is one thread's session with the store.

#pragma once

#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "polycache/author/clock.h"
#include "polycache/author/function_ref.h"
#include "polycache/detail/export.h"
#include "polycache/warning.h"

namespace polycache {

class BackendFactory;
class CircuitBreaker;

// The lifetime of an entry: a strictly positive number of milliseconds, or forever. Zero and
// negative timeouts never reach a backend.
class Ttl {
 public:
  // REQUIRES: ms > 0
  constexpr explicit Ttl(std::chrono::milliseconds ms) noexcept : ms_(ms) {
    assert(ms.count() > 0);
  }
  static constexpr Ttl forever() noexcept { return Ttl(std::chrono::milliseconds::max()); }

  constexpr bool is_forever() const noexcept { return ms_ == std::chrono::milliseconds::max(); }
  // REQUIRES: !is_forever()
  constexpr std::chrono::milliseconds value() const noexcept { return ms_; }

 private:
  std::chrono::milliseconds ms_;
};

enum class PutMode : std::uint8_t { always, if_absent, if_present };

struct Item {
  std::string_view key;
  std::string_view value;
  Ttl ttl;
};

// Receives a stored value. The view is valid only during the call. Sinks passed by the core never
// throw. A sink does not call the session that called it, but it may open another session of the
// same store (a codec may use caches): call it outside every lock.
using ValueSink = FunctionRef<void(std::string_view value)>;
using IndexedValueSink = FunctionRef<void(std::size_t index, std::string_view value)>;
using IndexSink = FunctionRef<void(std::size_t index)>;

// One session with a store. Used by one thread at a time: implementations need no locks for their
// own members. Destruction closes the session.
//
// Any function may throw BackendError. The core wraps exceptions other than CacheErrors into one.
class POLYCACHE_API Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend();

  // If there is a live entry, calls `sink` once with its value and returns true. Otherwise returns
  // false.
  virtual bool get(std::string_view key, ValueSink sink) = 0;

  // Stores value under key for `ttl`, subject to `mode`, atomically. Returns whether it was stored.
  // A value that the store refuses (too large) is not stored, an older value of the key is removed,
  // and a warning reports it.
  virtual bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) = 0;

  // Gives a live entry a new lifetime. Returns whether there was one. If so, calls `head` once, as
  // contains() does, with at least the first 64 bytes of its value, or all of a shorter one.
  virtual bool touch(std::string_view key, Ttl ttl, ValueSink head) = 0;
  bool touch(std::string_view key, Ttl ttl) {
    return touch(key, ttl, [](std::string_view) {});
  }

  // Returns whether there was a live entry.
  virtual bool erase(std::string_view key) = 0;

  // Removes every entry of the store, no matter which program wrote it.
  virtual void clear() = 0;

  // --- Override the following only to be faster or atomic. ---
  //
  // A repeated key in get_many, put_many or erase_many behaves as in a sequence of single
  // operations: the last of several values stays, and an entry is counted as removed once.

  // Returns whether there is a live entry. Unlike get(), it does not count as a use for eviction.
  // If there is one, calls `head` once with at least the first 64 bytes of the value, or all of a
  // shorter one. Default: get().
  virtual bool contains(std::string_view key, ValueSink head);

  // Atomically adds delta to a counter (defined in counter.h), keeping its lifetime. Empty if there
  // is no live entry. Throws ValueError, and changes nothing, if the value is not such an integer
  // or the sum overflows. Default: a loop over the extensions `ttl` and `compare`; without them,
  // BackendError.
  virtual std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta);

  // Calls sink(i, value) once for each live keys[i], in any order. May deliver some and then throw.
  // Default: get() in a loop.
  virtual void get_many(std::span<const std::string_view> keys, IndexedValueSink sink);

  // Stores all items. Calls on_failure(i) once for each item that was not stored, in any order.
  // Default: put() in a loop.
  virtual void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure);

  // Returns how many live entries were removed. Default: erase() in a loop.
  virtual std::size_t erase_many(std::span<const std::string_view> keys);

  // Optional abilities by name, e.g. "polycache.ttl/1"; see extension.h. Returns exactly a pointer
  // to that interface, or null. This object owns the interface, which is valid during the object's
  // lifetime. New abilities are added as extensions, never as new virtual functions of this class.
  virtual void* extension(std::string_view id) noexcept;
};

// Facts about a store that the core needs before its first call.
enum class KeyRules : std::uint8_t {
  portable,  // a key that memcached could not store is stored, with a warning
  strict,    // ... is refused with InvalidKey
  custom,    // BackendFactory::validate_key() decides
};

// Passed by value between a plugin and the core, so its size is fixed. A new field takes its bytes
// from `reserved`; its zero must mean the behaviour of plugins built before the field existed.
struct StoreTraits {
  KeyRules key_rules = KeyRules::portable;

  // Whether the store itself stops calls to servers that are down (circuit_breaker.h). Otherwise
  // the core does, with one breaker for the whole alias.
  bool breaks_circuits = false;

  // With breaks_circuits: the breaker, if a single one covers the whole store. The core asks it
  // before each call whether reads are refused, so that a refused call needs no exception. Refusing
  // only writes is up to the store. Lives as long as the factory.
  const CircuitBreaker* breaker = nullptr;

  // Whether only this process sees the entries: no other can compute, lock or change one.
  bool is_private = false;

  // Whether get() and get_many() read the entry itself, never a replica that may lag behind. Else
  // the core reads by ttl/1 where that matters, which some stores answer more slowly.
  bool reads_latest = false;
  std::array<std::byte, 103> reserved = {};
};

// One configured store, shared by all threads; thread-safe. Holds what its sessions have in common:
// parsed options, an in-process table, a connection pool.
class POLYCACHE_API BackendFactory {
 public:
  BackendFactory() = default;
  BackendFactory(const BackendFactory&) = delete;
  BackendFactory& operator=(const BackendFactory&) = delete;
  virtual ~BackendFactory();

  // Opens a session for the calling thread. Never null. Should not block on the network: connect on
  // first use, so that a dead server does not prevent start-up.
  virtual std::unique_ptr<Backend> connect() = 0;

  virtual StoreTraits traits() const noexcept;

  // Called for every final key if traits().key_rules is custom. Throws InvalidKey to refuse the
  // key, or calls `warn` with a complete sentence. To change only this for a stock store, derive
  // from its factory (polycache/backends/locmem.h, ...), whose constructor takes the KeyRules.
  virtual void validate_key(std::string_view final_key,
                            FunctionRef<void(std::string_view)> warn) const;

  // Optional abilities of the whole store (statistics, maintenance) that need no session and no
  // thread of their own. By name, as Backend::extension(). Thread-safe; this object owns the
  // interface. Default: null.
  virtual void* extension(std::string_view id) noexcept;
};

// The value that one configured alias gives to an option of something shared.
struct SharedOption {
  std::string_view name;  // "max_bytes"
  std::string value;      // for comparing and for messages
};

// Passed to a plugin's create function. The clock outlives every factory. Views, `sibling`,
// `process_wide`, `agree` and `find_service` are valid only during that call; the rest may be
// copied.
struct BackendContext {
  // Size of this struct in the core. Fields are only ever appended: a plugin built with newer
  // headers must not read any field beyond this size.
  std::uint32_t size = sizeof(BackendContext);
  std::string_view alias;
  const Clock& clock;

  // The text with which all final keys of this alias begin ("shop:1:"). Empty if its key function
  // does not guarantee one.
  std::string_view key_head;

  // Layers only: the wrapped factory. Null for a backend.
  std::shared_ptr<BackendFactory> inner;

  // The factory of another alias, including its layers, for composite stores such as "tiered".
  // Throws ConfigError if there is none or the aliases form a cycle. A composite reports the
  // strictest key rules of its parts.
  FunctionRef<std::shared_ptr<BackendFactory>(std::string_view alias)> sibling;

  // Reports an event that is not an error (warning.h). Thread-safe, never throws; may be called
  // under a lock, because during an operation the warning is kept and delivered after the store has
  // finished. The core fills in the alias.
  std::function<void(const Warning&)> report;

  // One object per id in the whole process, however often this code is linked or loaded, so that
  // two plugins with the same code share one in-process store. Created on first use and kept while
  // any holder of the result lives: hold it in the factory. A reconfiguration makes its factories
  // before it drops the old ones, so objects that both use survive. After the last holder, the next
  // caller gets a new object. Id, e.g.: "locmem/1:" + location + "@" + clock.identity().
  // Thread-safe; of two objects made concurrently, one is dropped.
  FunctionRef<std::shared_ptr<void>(std::string_view id, FunctionRef<std::shared_ptr<void>()> make)>
      process_wide;

  // For something that several aliases can share, such as an object of process_wide: states its
  // options as configured here. An option that differs from that of another alias with this `id`,
  // currently configured in any registry of the process, is rejected as by OptionReader::reject(),
  // with a message that names both registries. `what` names the shared thing in that message: "the
  // locmem location \"pages\"". Thread-safe.
  FunctionRef<void(std::string_view id, std::string_view what,
                   std::span<const SharedOption> options)>
      agree = accept_any;

  // Returns a service that the program provides to its stores (Environment::services), by name;
  // null if there is none of that name. Hold it in the factory. Anything else that a store needs
  // from the program comes this way, never as a new field.
  FunctionRef<std::shared_ptr<void>(std::string_view id)> find_service = no_service;
  template <class Service>
  std::shared_ptr<Service> service() const {
    return std::static_pointer_cast<Service>(find_service(Service::id));
  }

  // For contexts made without a registry.
  static void accept_any(std::string_view /*id*/, std::string_view /*what*/,
                         std::span<const SharedOption> /*options*/) {}
  static std::shared_ptr<void> no_service(std::string_view /*id*/) { return nullptr; }
};

}  // namespace polycache
