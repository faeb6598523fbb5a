// Abilities that only some stores have. A Backend provides them by name; the core and recipes
// request them and report a missing one. A new ability adds a struct here and changes nothing else.
// Every stock store is tested for the extensions it offers.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "polycache/author/backend.h"
#include "polycache/author/rate.h"
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

// Reads a value and gives its entry a new lifetime, for stores that do both in one round trip. The
// core reads and touches otherwise.
struct RenewExtension {
  static constexpr std::string_view id = "polycache.renew/1";
  // If there is a live entry, gives it the lifetime `ttl`, calls `sink` once with its value and
  // returns true. Otherwise returns false and changes nothing. Reads the entry itself, never a
  // replica that may lag behind.
  virtual bool get(std::string_view key, Ttl ttl, ValueSink sink) = 0;

 protected:
  ~RenewExtension() = default;
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

// Lists the keys of a store, in pages. Nothing stays open between two pages, and no state is kept
// in the session: the cursor is all that a scan has.
//
// Every entry that is there during the whole scan is listed at least once. An entry that is
// written, replaced or removed meanwhile may be listed or not. An entry may be listed twice only if
// its store's documentation says so. Expired entries are never listed; an entry that the core
// treats as absent (docs/architecture.md, "Entries") may be.
struct ScanExtension {
  static constexpr std::string_view id = "polycache.scan/1";
  struct Listed {
    std::string_view key;
    // The bytes of the stored value. A store that does not know these without reading the value
    // reports what the whole entry occupies.
    std::uint64_t size = 0;
    // Ttl::forever() if the entry has no end, empty if the store does not know.
    std::optional<Ttl> left = {};
  };

  // Lists one page: examines about `at_most` entries, whether they match or not, and calls `sink`
  // once for each live one whose key matches the pattern (glob.h). The sink follows the rules of
  // ValueSink. A store that cannot stop in the middle may examine more, and says so in its
  // documentation.
  //
  // `cursor` is empty for the first page; otherwise it is what the page before returned, possibly
  // in another session of the same store. Returns the cursor of the next page, empty after the
  // last. A page may list nothing and still not be the last.
  //
  // Throws ValueError for a pattern that is no glob or a cursor that this store cannot have
  // returned. REQUIRES: at_most > 0
  virtual std::string scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                           FunctionRef<void(const Listed&)> sink) = 0;

 protected:
  ~ScanExtension() = default;
};

// Removes all entries whose keys match a pattern, for stores that do this faster than by scan() and
// erase_many(), with which the core replaces it.
struct ErasePatternExtension {
  static constexpr std::string_view id = "polycache.erase_pattern/1";
  // Works in steps, so that other sessions never wait for more than a step. Removes every entry
  // that is there during the whole call and matches. Returns how many live entries were removed. If
  // it throws, some may have been removed. Throws ValueError for a pattern that is no glob.
  virtual std::size_t erase_pattern(std::string_view pattern) = 0;

 protected:
  ~ErasePatternExtension() = default;
};

// An index of the tags that entries carry, with which Cache::erase_tag() removes its entries at
// once. It is off until create_index(), and only saves memory: whether an entry counts as absent is
// decided by the versions of its tags, so the index may miss entries, but never removes one that
// does not carry the version. The store finds the versions in the bytes that it stores
// (entry_tags.h). It belongs to the store: all sessions see the same one.
struct TagIndexExtension {
  static constexpr std::string_view id = "polycache.tag_index/1";
  // Whether there is an index. Must be cheap: erase_tag() asks each time.
  virtual bool has_index() = 0;
  // Makes the index, and adds the entries that are there. Other sessions may use the store
  // meanwhile. Returns whether there was none. If there was one, or if an earlier call was
  // interrupted, makes sure that it is complete.
  virtual bool create_index() = 0;
  // Returns whether there was one.
  virtual bool drop_index() = 0;
  // Removes the entries that carry one of these versions, in steps, so that other sessions never
  // wait for more than a step. Returns how many live ones were removed. Without an index, removes
  // nothing. If it throws, some may have been removed.
  virtual std::size_t erase_tagged(std::span<const std::uint64_t> versions) = 0;

 protected:
  ~TagIndexExtension() = default;
};

// Lets the core confirm the tags of an entry without reading their versions again. A store offers
// it if it can say cheaply that none of the versions that it keeps has changed. It recognises them
// by is_tag_version() (entry_tags.h), or counts every write. A layer that changes keys, or that may
// answer without the store, must hide it.
struct TagStampExtension {
  static constexpr std::string_view id = "polycache.tag_stamp/1";
  // Returns a number for the versions that the store had at some moment between the beginning of
  // the latest operation of this session and the end of this call. If two calls return the same
  // number, in any sessions of one factory, then between their moments no version was replaced or
  // removed: by any process, by erasure, overwriting, eviction or clear(), nor with the store
  // itself. The number may change without a reason. A version whose life has ended is removed at
  // the latest when the store says of it that it is absent, or stores another one.
  //
  // Called after most reads of entries with tags, so it takes nanoseconds: it makes no system call,
  // and takes no lock that a write of another session holds.
  virtual std::uint64_t tag_stamp() = 0;

 protected:
  ~TagStampExtension() = default;
};

// Locks between threads and processes, for recipes. A lock has a key and at most `permits` holders,
// each with a token of its own and a lease, after which the store gives its place to others. The
// keys come from Cache::with_extension(), so no key of a user meets them; a store may append up to
// 8 bytes to them. All users of a key name the same number of permits. Tokens are never used again
// after their release; they have no more than 64 bytes, without blanks and control characters.
struct LockExtension {
  static constexpr std::string_view id = "polycache.lock/1";
  // Fields are only ever appended.
  struct Claim {
    std::string_view key;
    std::string_view token;
    std::uint32_t permits = 1;
  };
  struct Taken {
    bool taken = false;
    // If taken: greater than that of every take() of the key before it, unless the store has been
    // emptied meanwhile. 0: the store gives none.
    std::uint64_t fence = 0;
    // If not: after this time at the latest, the first of the leases ends. 0: not known.
    std::chrono::milliseconds wait{};
  };
  // Whether the store may remove a lock before its lease ends, so that it has two owners.
  enum class Keeping : std::uint8_t { kept, may_evict, not_known };

  // Takes a place if one is free; does not wait. A token that has a place already keeps it, with a
  // new lease and a new fence. In one step, and in one round trip if the store can.
  // REQUIRES: permits > 0, lease > 0
  virtual Taken take(const Claim& claim, std::chrono::milliseconds lease) = 0;
  // Gives the token's place a new lease, which begins now. Returns false, and does nothing, if it
  // has none. REQUIRES: lease > 0
  virtual bool renew(const Claim& claim, std::chrono::milliseconds lease) = 0;
  // Frees the token's place. Returns false, and does nothing, if it has none.
  virtual bool release(const Claim& claim) = 0;
  // Blocks until a place of the key may have become free, or until the limit has passed, and
  // returns true; it may return early. Returns false at once if the store cannot wait: the caller
  // then tries again by itself. REQUIRES: limit > 0
  virtual bool wait(std::string_view key, std::chrono::milliseconds limit) = 0;
  // Called rarely; may ask the server.
  virtual Keeping keeping() = 0;

 protected:
  ~LockExtension() = default;
};

// Rate limits between all users of a store, for recipes. A subject has a key, and what rates::use()
// (rate.h) says of its uses. The keys come from Cache::with_extension(), so no key of a user meets
// them. A store needs this only if it saves a round trip by it: RateLimiter reads and compares
// otherwise.
struct LimitExtension {
  static constexpr std::string_view id = "polycache.limit/1";
  // Fields are only ever appended.
  struct Use {
    std::string_view key;
    rates::Rate rate;
    std::int64_t cost = 1;  // 0: asks, and changes nothing
  };
  struct Used {
    bool allowed = false;
    // What decided: rates::use(rate, before, now, cost) has the same answer. The time is that of
    // the store's clock, which all its users share.
    rates::Moment now = 0;
    std::string before = {};
  };

  // Counts the uses if they are allowed, in one step; what is refused counts for nothing. The store
  // forgets the subject rates::life() after the last use that it counted, or later.
  // REQUIRES: the limits of rate.h
  virtual Used use(const Use& use) = 0;
  // Forgets the uses of a subject. Returns whether it knew any.
  virtual bool forget(std::string_view key) = 0;

 protected:
  ~LimitExtension() = default;
};

// Care of a whole store, for Cache::maintenance(). An extension of the factory, so it is
// thread-safe. Every function works in steps, so that sessions never wait for more than a step, and
// may throw BackendError.
struct MaintenanceExtension {
  static constexpr std::string_view id = "polycache.maintenance/1";
  // Of the whole store, whichever alias or program wrote the entries. Empty: the store cannot tell.
  struct Counts {
    std::optional<std::uint64_t> total = {};
    std::optional<std::uint64_t> expired = {};  // over, but not removed yet
    std::optional<std::uint64_t> unexpired = {};
    std::optional<std::uint64_t> forever = {};  // of these: without a lifetime
  };
  // Removes the expired entries; returns how many it removed: 0 if the store does this by itself.
  virtual std::size_t expire() = 0;
  // If there are more entries than the store's limits allow, removes some, as a write would;
  // returns how many.
  virtual std::size_t cull() = 0;
  // The bytes that the store occupies, in memory or on the disk.
  virtual std::optional<std::uint64_t> volume() = 0;
  virtual Counts counts() = 0;

 protected:
  ~MaintenanceExtension() = default;
};

// Saves the entries of a store in a file, from which its next process loads them. An extension of
// the factory, so it is thread-safe.
struct DumpExtension {
  static constexpr std::string_view id = "polycache.dump/1";
  // Writes the file anew; returns how many entries it has. Sessions never wait for more than a
  // step. When it returns, the file survives a crash of the machine; if it throws, the file is the
  // older one. Throws BackendError: unsupported if the configuration names no file, denied if the
  // file belongs to another process or must not be replaced, storage if it cannot be written.
  virtual std::uint64_t save() = 0;

 protected:
  ~DumpExtension() = default;
};

// Looks for damage in what a store has. An extension of the factory, so it is thread-safe.
struct CheckExtension {
  static constexpr std::string_view id = "polycache.check/1";
  enum class Fix : unsigned char { no, yes };
  struct Problem {
    std::string_view text;  // what is wrong, and where
    bool is_fixed = false;
  };
  // Calls found(problem) for everything that is wrong, at most 1,000 times: the last one then says
  // that there may be more. Fix::yes repairs what can be repaired without loss, and removes entries
  // that no operation finds; Fix::no changes nothing. Works in steps between which sessions use the
  // store, where it can. Throws BackendError if the store fails before something was found; later,
  // the failure is a problem.
  virtual void check(Fix fix, FunctionRef<void(const Problem&)> found) = 0;

 protected:
  ~CheckExtension() = default;
};

// Gives space that removed entries have left back to the file system. An extension of the factory,
// so it is thread-safe.
struct VacuumExtension {
  static constexpr std::string_view id = "polycache.vacuum/1";
  enum class How : unsigned char {
    in_steps,  // free pages only, in steps between which sessions use the store
    full,      // writes everything anew, without gaps; other writers wait for it
  };
  // Returns how many bytes the store has shrunk by, without its log. Throws BackendError if the
  // store fails; then it is as it was, or smaller.
  virtual std::uint64_t vacuum(How how) = 0;

 protected:
  ~VacuumExtension() = default;
};

}  // namespace polycache
