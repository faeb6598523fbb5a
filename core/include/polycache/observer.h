// Sees every public operation of every cache of a registry as its caller sees it: for metrics,
// traces and debug logs. Give it to Environment::observer. Layers see the calls of the store
// instead, which one operation may make several of, or none.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

enum class Op : std::uint8_t {
  get,  // also visit() and get_entry()
  get_many,
  get_or_set,
  get_or_set_many,
  set,
  set_many,
  add,
  touch,
  contains,
  erase,
  erase_many,
  pop,  // also pop_entry()
  incr,
  incr_version,
  clear,
  tags,
  erase_tags,  // also erase_tag()
  scan,        // one page
  erase_pattern,
  expire,
  persist,
  load,  // a computation of get_or_set() in the background
  create_tag_index,
  drop_tag_index,
  update,
  lock,  // one try to take a lock; also of a semaphore (polycache/lock.h)
  renew_lock,
  unlock,
  wait_for_lock,  // until it may have become free
  check_locks,    // whether the store may evict them
  use_limit,      // of a RateLimiter, where the store has LimitExtension; else it is an update
  forget_limit,
  deque_push,  // of a Deque (polycache/deque.h)
  deque_pop,
  deque_read,  // also peeks, and pages of an iteration
  deque_size,
  deque_rotate,
  deque_clear,
  check_collections,  // whether the store may evict them
  find_in_index,      // also Index::contains() (polycache/index.h)
  put_in_index,
  erase_from_index,  // also Index::pop()
  take_from_index,   // Index::popitem()
  list_index,        // one page
  count_index,
  clear_index,
};

// "get_many".
POLYCACHE_API std::string_view name_of(Op op) noexcept;

enum class Result : std::uint8_t {
  hit,       // there was a live entry; a write was done; something was erased
  miss,      // there was none; a write was refused, or its condition did not hold
  stale,     // there was one whose time is over, and it was returned
  negative,  // the entry says "there is no such thing"
  error,     // the store failed, or the operation threw
  refused,   // the store was not asked, because a circuit breaker is open
};

// "hit".
POLYCACHE_API std::string_view name_of(Result result) noexcept;

// One operation. Views are valid during the call only.
struct Call {
  std::string_view alias;
  Op op;
  // The final key; of several keys the first; the pattern of final keys for scan() and
  // erase_pattern(); a key of the library's own for tags, locks, limits and collections; empty for
  // clear()
  // and for the index of tags.
  std::string_view key;
  std::size_t keys = 1;  // how many
};

// How it ended. Of several keys: hit if any was. Of load: hit if there is a value, negative if
// there is no such thing.
struct CallEnd {
  Result result;
  std::size_t hits = 0;  // of the keys; the entries of a page of scan(), or that were erased
};

class POLYCACHE_API Observer {
 public:
  Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;
  virtual ~Observer();

  // Called on the thread of the operation, in pairs, which nest where a codec or a computation
  // uses a cache; an operation whose key is refused has none. An observer may use caches, also
  // the same one, and is then called for these operations, too. It must be thread-safe, and must
  // not own a Cache of its registry: the caches own it.
  virtual void begin(const Call& call) noexcept = 0;
  virtual void end(const Call& call, const CallEnd& end) noexcept = 0;
};

}  // namespace polycache
