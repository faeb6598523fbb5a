// IndexExtension: ordered maps, for the recipe Index. extension.h says what extensions are.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "polycache/author/backend.h"
#include "polycache/author/extension.h"

namespace polycache {

// Ordered maps between all users of the store, for the recipe Index. They are no entries: neither
// eviction nor lifetimes reach them, and each call is one step, in one round trip if the store can.
//
// An index exists from the first put() on, and has the type of that call until clear(): another one
// is refused. Types are texts, which the store only compares. Every function but clear() throws
// ValueError if the index has another type (throw_other_type() in index_table.h). Without an index,
// there are no items, whatever the type. Sinks are called outside every lock.
struct IndexExtension {
  static constexpr std::string_view id = "polycache.index/1";

  // By the bytes of the keys, as memcmp() compares them, a prefix first; or as the keys came.
  enum class Order : std::uint8_t { by_key, by_insertion };
  enum class Side : std::uint8_t { first, last };
  // Fields of these structs are only ever appended.
  struct Place {
    std::string_view key;
    std::string_view type;  // REQUIRES: indexes of one type have one order
    Order order = Order::by_key;
  };
  struct Entry {
    std::string_view key;
    std::string_view value;
    // By insertion: greater than those of all keys that came before, at most 2^53. A key keeps its
    // position until it is removed. By key: 0.
    std::uint64_t position = 0;
  };
  using EntrySink = FunctionRef<void(const Entry& entry)>;
  struct Put {
    bool stored = false;
    bool was_there = false;  // the key, before
  };
  // What list() lists, beginning at `side`.
  struct Range {
    // By key: keys from `from` on, and before `to`, if there is one.
    std::string_view from = {};
    std::optional<std::string_view> to = {};
    // By insertion: positions greater than `after`, and less than `before`.
    std::uint64_t after = 0;
    std::uint64_t before = UINT64_MAX;
    Side side = Side::first;
    std::size_t at_most = 100;  // REQUIRES: > 0
  };

  // Returns whether the key is there; then calls `sink` once with its value.
  virtual bool find(const Place& place, std::string_view key, ValueSink sink) = 0;
  // Stores subject to the mode. If the mode is if_absent and the key is there, calls `sink` once
  // with the value that is there.
  virtual Put put(const Place& place, std::string_view key, std::string_view value, PutMode mode,
                  ValueSink sink) = 0;
  // Returns whether the key was there; then calls `sink` once with the value that was removed. Of
  // several concurrent callers, one gets it.
  virtual bool erase(const Place& place, std::string_view key, ValueSink sink) = 0;
  // Removes the first or the last item and calls `sink` once with it. Of several concurrent
  // callers, each gets another one. Returns false if there is none.
  virtual bool take(const Place& place, Side side, EntrySink sink) = 0;
  // Calls `sink` for items of the range, in order: at most `at_most`, all as of one moment. Returns
  // whether more may follow; if it lists none, none follow.
  virtual bool list(const Place& place, const Range& range, EntrySink sink) = 0;
  virtual std::uint64_t count(const Place& place) = 0;
  // Removes the index, whatever its type is. Returns how many items it had.
  virtual std::uint64_t clear(const Place& place) = 0;
  // Called rarely; may ask the server.
  virtual LockExtension::Keeping keeping() = 0;

 protected:
  ~IndexExtension() = default;
};

}  // namespace polycache
