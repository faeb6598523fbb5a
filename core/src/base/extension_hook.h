// How an extension of a store looks through an AroundLayer: around_layer.cpp has the hooks of most
// extensions, collection_hooks.h those of collections.

#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "polycache/author/around_layer.h"

namespace polycache {

// Calls that differ only in their operation.

inline StoreCall read_call(StoreOp op, std::string_view name,
                           std::span<const std::string_view> keys, StoreItemSink deliver) noexcept {
  return {.op = op, .access = Access::read, .name = name, .keys = keys, .deliver = deliver};
}

inline StoreCall write_call(StoreOp op, std::string_view name,
                            std::span<const std::string_view> keys,
                            StoreItemSink deliver = StoreCall::ignore) noexcept {
  return {.op = op, .access = Access::write, .name = name, .keys = keys, .deliver = deliver};
}

// The sinks of the caller never throw, so a store that delivers an item without a value where one
// is due gives an empty one.
inline std::string_view value_of(const StoreItem& item) noexcept { return item.value.value_or(""); }

inline std::size_t count_of(const StoreAnswer& answer) noexcept {
  return static_cast<std::size_t>(answer.number.value_or(0));
}

// An extension as the layer offers it. An extension of the list without a specialisation of Hook
// does not compile.
template <class Extension>
struct Hook;

// Of an extension whose functions run through around().
template <class Extension>
struct HookOf : Extension {
  explicit HookOf(AroundLayer& around_layer) noexcept : layer(around_layer) {}
  void* offer(void* of_store) noexcept {
    store = static_cast<Extension*>(of_store);
    return static_cast<Extension*>(this);
  }

  AroundLayer& layer;
  Extension* store = nullptr;  // set by offer(), so before any call

 protected:
  ~HookOf() = default;
};

// Of an extension that is offered as it is.
struct NoHook {
  explicit NoHook(AroundLayer& /*layer*/) noexcept {}
  void* offer(void* of_store) noexcept { return of_store; }
};

}  // namespace polycache
