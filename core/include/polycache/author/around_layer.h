// A layer that is transparent, with one hook around every call of the store: for recording,
// tracing, fault injection, limits. It passes on everything, extensions of the store included.
// Override around():
//
//   class Timing final : public AroundLayer {
//     StoreAnswer around(const StoreCall& call, StoreGo go) override {
//       const auto begin = std::chrono::steady_clock::now();
//       const StoreAnswer answer = go(call.deliver);
//       report(call.name, std::chrono::steady_clock::now() - begin);
//       return answer;
//     }
//   };
//
// A layer that changes the behaviour of a few functions only derives from Layer (layer.h).

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "polycache/author/backend.h"
#include "polycache/author/extension.h"
#include "polycache/author/function_ref.h"
#include "polycache/author/layer.h"
#include "polycache/detail/export.h"

namespace polycache {

// The functions of Backend and of the extensions in extension_list.h. New ones are appended. A
// layer may run with a core that is newer than the layer: it treats an operation that it does not
// know by `access` and `name`.
enum class StoreOp : std::uint8_t {
  get,
  contains,
  get_many,
  put,
  put_many,
  touch,
  erase,
  erase_many,
  clear,
  incr,
  get_with_ttl,       // TtlExtension::get
  get_many_with_ttl,  // TtlExtension::get_many
  put_if_equal,       // CompareExtension
  erase_if_equal,
  pop,           // PopExtension
  erase_prefix,  // ErasePrefixExtension
  check_health,  // HealthExtension::check
  scan,          // ScanExtension: one page
  erase_pattern,
  get_and_renew,     // RenewExtension::get
  create_tag_index,  // TagIndexExtension::create_index
  drop_tag_index,
  erase_tagged,
  take_lock,  // LockExtension
  renew_lock,
  release_lock,
  wait_for_lock,
  use_limit,  // LimitExtension
  forget_limit,
  push_deque,  // DequeExtension; name: "push_front" or "push_back"
  pop_deque,   // name: "pop_front" or "pop_back"
  deque_at,
  list_deque,
  deque_size,
  rotate_deque,
  erase_deque,
  find_in_index,  // IndexExtension
  put_in_index,
  erase_from_index,
  take_from_index,
  list_index,
  count_index,
  clear_index,
};

// One item of an answer, as the store delivers it:
//   get, get_many, get_with_ttl, get_many_with_ttl, pop,
//   get_and_renew                                         an entry that was found
//   contains, touch                                       the same; `value` is only its head
//   put_many                                              an item that was not stored; no value
//   pop_deque, deque_at, list_deque                       a value
//   scan                                                  an entry that was found; `value` is its
//                                                         key. A layer that delivers it does so
//                                                         while the store lists it, or its size is
//                                                         0
//   find_in_index, put_in_index, erase_from_index,
//   take_from_index, list_index                           an item of the index; `value` is its
//                                                         value. A layer that delivers one of the
//                                                         last two in place of the store has no
//                                                         place for its key, which is empty then
// Other operations deliver none. Passed in both directions, so its layout is frozen.
struct StoreItem {
  std::size_t index = 0;  // of the call's key
  std::optional<std::string_view> value = {};
  std::optional<Ttl> left = {};  // get_with_ttl, get_many_with_ttl, scan
};

// What the store returns besides the items. Layout frozen, as above.
struct StoreAnswer {
  // Operations with one key: whether it was found, stored, touched, erased, counted;
  // create_tag_index, drop_tag_index, operations on locks, limits and indexes, pop_deque, deque_at,
  // erase_deque: what they return; use_limit: whether it was allowed; push_deque: true;
  // put_in_index: whether it stored. Otherwise false.
  bool done = false;
  // incr: the sum; erase_many, erase_prefix, erase_pattern, erase_tagged: how many; scan: how many
  // in the page; take_lock: the fence; use_limit: the time that decided; list_deque, deque_size,
  // count_index, clear_index: how many
  std::optional<std::int64_t> number = {};
};

// Receives items. Never throws; the views are valid only during the call.
using StoreItemSink = FunctionRef<void(const StoreItem& item)>;

// Makes the call. The items go to `each`: pass StoreCall::deliver, or a function that examines an
// item and then calls deliver with it.
using StoreGo = FunctionRef<StoreAnswer(StoreItemSink each)>;

// One call. Everything is valid only during around(). Fields are only ever appended.
struct StoreCall {
  StoreOp op;
  Access access;          // erasing, counting and renewing are writes
  std::string_view name;  // "get_with_ttl", as in StoreOp

  // erase_prefix: the prefix; scan, erase_pattern: the pattern; put, put_many, push_deque: none;
  // operations on indexes: the index
  std::span<const std::string_view> keys = {};
  std::span<const Item> items = {};  // put, put_many; push_deque: one for each value
  PutMode mode = PutMode::always;    // put, put_many, put_in_index
  // put_if_equal, put_in_index; take_lock: the token
  std::optional<std::string_view> new_value = {};
  // put_if_equal, erase_if_equal; renew_lock, release_lock: the token; find_in_index, put_in_index,
  // erase_from_index: the key in the index
  std::optional<std::string_view> expected = {};
  // touch, put_if_equal, get_and_renew; take_lock, renew_lock: the lease
  std::optional<Ttl> new_ttl = {};
  // incr; use_limit: the cost; push_deque: the most values that the deque may have; deque_at,
  // list_deque: the place; rotate_deque: the steps
  std::int64_t delta = 0;

  // Passes an item to the caller.
  StoreItemSink deliver = ignore;

  // The keys of all operations, with the value and the lifetime to write, if any.
  std::size_t size() const noexcept { return keys.size() + items.size(); }
  std::string_view key(std::size_t i) const noexcept {
    return items.empty() ? keys[i] : items[i].key;
  }
  std::optional<std::string_view> value(std::size_t i) const noexcept {
    return items.empty() ? new_value : items[i].value;
  }
  std::optional<Ttl> ttl(std::size_t i) const noexcept {
    return items.empty() ? new_ttl : items[i].ttl;
  }

  static void ignore(const StoreItem& /*item*/) {}
};

// What a layer lets through besides the calls of its hook. By default, everything.
struct Transparency {
  // Extensions that extension_list.h does not have. The layer does not see their calls. If false,
  // they are hidden.
  bool unknown_extensions = true;

  // Lets the core refuse a call before the layer sees it, if a circuit breaker of the store is open
  // (AdmissionExtension, StoreTraits::breaker), and omit the reads of versions of tags that have
  // not changed (TagStampExtension). False for a layer that must see every call, or that may answer
  // without the store.
  bool early_refusals = true;
};

// A session whose calls all run through around().
class POLYCACHE_API AroundLayer : public Layer {
 public:
  // REQUIRES: inner != nullptr
  explicit AroundLayer(std::unique_ptr<Backend> inner, Transparency transparency = {});
  ~AroundLayer() override;

  // Called instead of each function of StoreOp. Calls go() once, or not at all and answers in place
  // of the store: by deliver() for each item, and by what it returns. May throw, before or after
  // go(); an exception that it throws is the caller's. Not called for AdmissionExtension,
  // PaddedNumbersExtension, IdleExtension, TagStampExtension, TagIndexExtension::has_index and
  // keeping() of locks, deques and indexes, which reach no entry, nor for unknown extensions.
  //
  // A BackendError that it throws around check_health becomes a server that is not reachable, with
  // the name BackendError::server(), or "layer".
  virtual StoreAnswer around(const StoreCall& call, StoreGo go);

  // Offers each extension that the store has, subject to Transparency.
  void* extension(std::string_view id) noexcept override;

  bool get(std::string_view key, ValueSink sink) final;
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) final;
  bool touch(std::string_view key, Ttl ttl, ValueSink head) final;
  bool erase(std::string_view key) final;
  void clear() final;
  bool contains(std::string_view key, ValueSink head) final;
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) final;
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) final;
  void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) final;
  std::size_t erase_many(std::span<const std::string_view> keys) final;

 private:
  // Defined in libpolycache, so that a layer that was built before an extension forwards it too.
  struct Hooks;

  Transparency transparency_;
  std::unique_ptr<Hooks> hooks_;
};

// The factory of such sessions. Its traits and its extensions are those of the store, subject to
// the same Transparency.
class POLYCACHE_API AroundLayerFactory : public LayerFactory {
 public:
  // REQUIRES: inner != nullptr
  explicit AroundLayerFactory(std::shared_ptr<BackendFactory> inner,
                              Transparency transparency = {}) noexcept
      : LayerFactory(std::move(inner)), transparency_(transparency) {}
  ~AroundLayerFactory() override;

  StoreTraits traits() const noexcept override;
  // Extensions of a factory make no calls of a session, so none of them has a hook.
  void* extension(std::string_view id) noexcept override;

 protected:
  // For the sessions that wrap() makes.
  Transparency transparency() const noexcept { return transparency_; }

 private:
  Transparency transparency_;
};

}  // namespace polycache
