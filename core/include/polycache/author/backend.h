// What a backend author implements. Nothing else is needed: keys arrive final (prefixed,
// versioned, checked), values arrive as bytes, and lifetimes arrive resolved. Five
// functions are required; override the others where the storage can do better than the
// generic version, and offer extensions (extension.h) for what only some stores can do.
//
// Two classes: a BackendFactory is what a configured alias shares between threads; a
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

// How long an entry may live: a strictly positive number of milliseconds, or
// forever. Zero and negative timeouts never reach a backend.
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

// Receives a stored value. The view is valid during the call only. Sinks that the core
// hands out never throw. A sink does not call the session that called it, but it may open
// another one of the same store (a codec may use caches): call it outside every lock.
using ValueSink = FunctionRef<void(std::string_view value)>;
using IndexedValueSink = FunctionRef<void(std::size_t index, std::string_view value)>;
using IndexSink = FunctionRef<void(std::size_t index)>;

// One session with a store. Used by one thread at a time: implementations need no
// locking for their own members. Destruction closes it.
//
// Any function may throw BackendError. Anything else that leaves a backend is
// wrapped into one by the core.
class POLYCACHE_API Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend();

  // Calls `sink` once with the value of a live entry and returns true, or
  // returns false.
  virtual bool get(std::string_view key, ValueSink sink) = 0;

  // Stores value under key for `ttl`, subject to `mode`, atomically. Returns
  // whether it was stored. A value that the store refuses (too large) is not
  // stored, an older value of the key is gone, and a warning says so.
  virtual bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) = 0;

  // Gives a live entry a new lifetime. Returns whether there was one, and if so calls `head` once
  // with at least the first 64 bytes of its value, or with all of a shorter one, as contains()
  // does.
  virtual bool touch(std::string_view key, Ttl ttl, ValueSink head) = 0;
  bool touch(std::string_view key, Ttl ttl) {
    return touch(key, ttl, [](std::string_view) {});
  }

  // Returns whether there was a live entry.
  virtual bool erase(std::string_view key) = 0;

  // Removes every entry of the store, whoever wrote it.
  virtual void clear() = 0;

  // --- Override below only to be faster or atomic. ---
  //
  // One key several times in get_many, put_many or erase_many is as if the single operations
  // came one after another: of several values the last one stays, and an entry is counted as
  // removed once.

  // Whether there is a live entry. Unlike get(), asking is no use of the entry: an eviction
  // policy does not count it. If there is one, calls `head` once with at least the first 64
  // bytes of the value, or with all of a shorter one. Default: get().
  virtual bool contains(std::string_view key, ValueSink head);

  // Adds delta to a counter (counter.h says what that is), keeping its lifetime,
  // atomically. Empty if there is no live entry. Throws ValueError, and
  // changes nothing, if the value is no such integer or the sum overflows. Default:
  // a loop over the extensions `ttl` and `compare`; without them, BackendError.
  virtual std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta);

  // Calls sink(i, value) once for each keys[i] that is live, in any order. May deliver some
  // and then throw. Default: get() in a loop.
  virtual void get_many(std::span<const std::string_view> keys, IndexedValueSink sink);

  // Stores all items; calls on_failure(i) once for each one that was not stored, in any
  // order. Default: put() in a loop.
  virtual void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure);

  // Returns how many live entries were removed. Default: erase() in a loop.
  virtual std::size_t erase_many(std::span<const std::string_view> keys);

  // Optional abilities beyond this class, by name, e.g. "polycache.ttl/1"; see
  // extension.h. Returns exactly a pointer to that interface, owned by this object
  // and valid as long as it, or null. New abilities are added this way, never as
  // new virtual functions of this class.
  virtual void* extension(std::string_view id) noexcept;
};

// What the core needs to know about a store before talking to it.
enum class KeyRules : std::uint8_t {
  portable,  // a key that memcached could not store is stored, with a warning
  strict,    // ... is refused with InvalidKey
  custom,    // BackendFactory::validate_key() decides
};

// Returned by value between a plugin and the core, so its size is fixed. A field that is added
// takes its bytes from `reserved`, and means by zero what plugins meant that did not know it.
struct StoreTraits {
  KeyRules key_rules = KeyRules::portable;

  // Whether the store keeps calls from servers that are down itself (circuit_breaker.h).
  // Otherwise the core does, one breaker for the whole alias.
  bool breaks_circuits = false;

  // With breaks_circuits, where one breaker stands for all of the store: the core asks it
  // before it calls, whether reads are refused, so that a refused call costs no exception;
  // what is refused to writes alone is the store's own affair. Lives as long as the factory.
  const CircuitBreaker* breaker = nullptr;
  std::array<std::byte, 112> reserved = {};
};

// One configured store, shared by all threads; thread-safe. Holds what sessions
// have in common: parsed options, an in-process table, a connection pool.
class POLYCACHE_API BackendFactory {
 public:
  BackendFactory() = default;
  BackendFactory(const BackendFactory&) = delete;
  BackendFactory& operator=(const BackendFactory&) = delete;
  virtual ~BackendFactory();

  // Opens a session for the calling thread. Never null. Should not block on the
  // network: connect on first use, so that a dead server does not stop start-up.
  virtual std::unique_ptr<Backend> connect() = 0;

  virtual StoreTraits traits() const noexcept;

  // Asked about every final key if traits().key_rules is custom. Throws InvalidKey
  // to refuse it, or calls `warn` with a whole sentence. To change only this for a
  // stock store, derive from its factory (polycache/backends/locmem.h, ...), whose
  // constructor takes the KeyRules.
  virtual void validate_key(std::string_view final_key,
                            FunctionRef<void(std::string_view)> warn) const;

  // Optional abilities of the store as a whole (statistics, maintenance), which need no session
  // and no thread of their own. By name, as Backend::extension(). Thread-safe; the interface is
  // owned by this object. Default: null.
  virtual void* extension(std::string_view id) noexcept;
};

// An option of something that is shared, as the alias that is configured means it.
struct SharedOption {
  std::string_view name;  // "max_bytes"
  std::string value;      // for comparing and for messages
};

// Handed to a plugin's create function. The clock outlives every factory; views,
// `sibling`, `process_wide` and `agree` are valid during that call only; the rest may be
// copied.
struct BackendContext {
  // Of this struct, as the core has it. Fields are only ever appended: a plugin that was built
  // with newer headers looks at no field beyond it.
  std::uint32_t size = sizeof(BackendContext);
  std::string_view alias;
  const Clock& clock;

  // What all final keys of this alias begin with ("shop:1:"), or empty if its key function
  // promises no such thing.
  std::string_view key_head;

  // Layers only: the factory that this one wraps. Null for a backend.
  std::shared_ptr<BackendFactory> inner;

  // The factory behind another alias, its layers included, for composite stores such as
  // "tiered". Throws ConfigError if there is none or the aliases form a cycle. A composite
  // reports the strictest key rules of its parts.
  FunctionRef<std::shared_ptr<BackendFactory>(std::string_view alias)> sibling;

  // Says something that is no error (warning.h); thread-safe, never throws. During an
  // operation the warning is kept and delivered when the store is done, so this may be
  // called under a lock. The alias is filled in.
  std::function<void(const Warning&)> report;

  // One object per id in the whole process, however often this code is linked or loaded: what
  // makes two plugins that carry the same code share one in-process store. Made at first use
  // and kept while a holder of the result lives: hold it in the factory. A reconfiguration
  // makes its factories before it drops the old ones, so what both use stays. After the last
  // holder the next caller gets a new object. Id, e.g.: "locmem/1:" + location + "@" +
  // clock.identity(). Thread-safe; of two concurrent makers one result is dropped.
  FunctionRef<std::shared_ptr<void>(std::string_view id, FunctionRef<std::shared_ptr<void>()> make)>
      process_wide;

  // For what several aliases can share, such as an object of process_wide: says what its
  // options are here. Each option that another alias, of any registry of the process that has
  // this `id` in its configuration at the moment, says otherwise, is rejected as by
  // OptionReader::reject(), in a sentence that names both registries. `what` names the thing
  // in that sentence: "the locmem location \"pages\"". Thread-safe.
  FunctionRef<void(std::string_view id, std::string_view what,
                   std::span<const SharedOption> options)>
      agree = accept_any;

  // Something that the program gives to its stores (Environment::services), by name; null if it
  // gives none of that name. Hold it in the factory. What a store needs from its surroundings
  // comes this way, never as a new field.
  FunctionRef<std::shared_ptr<void>(std::string_view id)> find_service = no_service;
  template <class Service>
  std::shared_ptr<Service> service() const {
    return std::static_pointer_cast<Service>(find_service(Service::id));
  }

  // For contexts that are made without a registry.
  static void accept_any(std::string_view /*id*/, std::string_view /*what*/,
                         std::span<const SharedOption> /*options*/) {}
  static std::shared_ptr<void> no_service(std::string_view /*id*/) { return nullptr; }
};

}  // namespace polycache
