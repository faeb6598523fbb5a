// The part of an Index that does not depend on its types: a name, an order, and bytes. index.h
// includes it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/index_extension.h"
#include "polycache/cache.h"
#include "polycache/codec.h"
#include "polycache/collection_options.h"
#include "polycache/detail/collection.h"
#include "polycache/key.h"

namespace polycache::detail {

// What an index of values of this type is said to hold. Values that have no built-in codec are told
// apart by their codec alone, when they are read.
template <class V>
constexpr std::string_view value_text() {
  if constexpr (std::same_as<V, std::string>) {
    return "text";
  } else if constexpr (std::same_as<V, std::vector<std::byte>>) {
    return "bytes";
  } else if constexpr (std::same_as<V, bool>) {
    return "bool";
  } else if constexpr (std::same_as<V, char>) {
    return "char";
  } else if constexpr (Integer<V> || Enum<V>) {
    return "integer";
  } else if constexpr (Float<V>) {
    return "float";
  } else {
    return "values of a codec";
  }
}

// Thread-safe if it is made with an alias; otherwise used by the thread of its cache. Every
// function throws as Index says.
class IndexCore {
 public:
  using Order = IndexExtension::Order;
  using Side = IndexExtension::Side;
  using Range = IndexExtension::Range;
  struct Item {
    std::string key;
    std::string value;
    std::uint64_t position = 0;
  };
  struct Page {
    std::vector<Item> items;
    bool more = false;
  };
  struct Put {
    bool stored = false;
    bool was_there = false;
    std::string held;  // not stored because this is there
  };

  // `cache`: null if the options name an alias. `keys`, `values`: what it holds, in words.
  IndexCore(Cache* cache, KeyView name, Order order, const std::string& keys,
            std::string_view values, const CollectionOptions& options);
  IndexCore(const IndexCore&) = delete;
  IndexCore& operator=(const IndexCore&) = delete;

  const std::string& name() const noexcept { return collection_.name(); }
  // Between the bytes of a codec and those that the store keeps.
  std::string pack(std::string_view bytes) const { return collection_.pack(bytes); }
  std::string unpack(std::string_view stored) const { return collection_.unpack(stored); }
  Order order() const noexcept { return order_; }

  std::optional<std::string> find(std::string_view key) const;
  bool contains(std::string_view key) const;
  Put put(std::string_view key, std::string_view value, PutMode mode) const;
  std::optional<std::string> erase(std::string_view key) const;
  std::optional<Item> take(Side side) const;
  Page list(const Range& range) const;
  std::uint64_t count() const;
  std::uint64_t clear() const;

  // For functions that need the order of the keys.
  void must_be_by_key(std::string_view function) const;
  // `what`: "key" or "value".
  [[noreturn]] void throw_unreadable(std::string_view what) const;

 private:
  template <class F>
  bool call(Op op, F f) const;
  std::string start() const;  // of messages: index "name"

  const Collection collection_;
  const Order order_;
  const std::string type_;
};

}  // namespace polycache::detail
