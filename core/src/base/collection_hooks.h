// The hooks of the extensions for collections.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/extension_hook.h"
#include "polycache/author/deque_extension.h"

namespace polycache {

template <>
struct Hook<DequeExtension> : HookOf<DequeExtension> {
  using HookOf::HookOf;

  void push(std::string_view key, End end, std::span<const std::string_view> values,
            std::uint64_t most) override {
    std::vector<Item> items;
    items.reserve(values.size());
    for (const std::string_view value : values) items.push_back({key, value, Ttl::forever()});
    StoreCall call =
        write_call(StoreOp::push_deque, end == End::front ? "push_front" : "push_back", {});
    call.items = items;
    call.delta = static_cast<std::int64_t>(most);
    const auto go = [&](StoreItemSink) {
      store->push(key, end, values, most);
      return StoreAnswer{.done = true};
    };
    layer.around(call, go);
  }

  bool pop(std::string_view key, End end, ValueSink sink) override {
    const auto deliver = [&](const StoreItem& item) { sink(value_of(item)); };
    const auto go = [&](StoreItemSink each) {
      return StoreAnswer{
          .done = store->pop(key, end, [&](std::string_view value) { each({.value = value}); })};
    };
    const StoreCall call = write_call(
        StoreOp::pop_deque, end == End::front ? "pop_front" : "pop_back", {&key, 1}, deliver);
    return layer.around(call, go).done;
  }

  bool at(std::string_view key, std::int64_t place, ValueSink sink) override {
    const auto deliver = [&](const StoreItem& item) { sink(value_of(item)); };
    const auto go = [&](StoreItemSink each) {
      return StoreAnswer{
          .done = store->at(key, place, [&](std::string_view value) { each({.value = value}); })};
    };
    StoreCall call = read_call(StoreOp::deque_at, "deque_at", {&key, 1}, deliver);
    call.delta = place;
    return layer.around(call, go).done;
  }

  std::size_t list(std::string_view key, std::uint64_t from, std::size_t at_most,
                   ValueSink sink) override {
    const auto deliver = [&](const StoreItem& item) { sink(value_of(item)); };
    const auto go = [&](StoreItemSink each) {
      const std::size_t count =
          store->list(key, from, at_most, [&](std::string_view value) { each({.value = value}); });
      return StoreAnswer{.number = static_cast<std::int64_t>(count)};
    };
    StoreCall call = read_call(StoreOp::list_deque, "list_deque", {&key, 1}, deliver);
    call.delta = static_cast<std::int64_t>(from);
    return count_of(layer.around(call, go));
  }

  std::uint64_t size(std::string_view key) override {
    const auto go = [&](StoreItemSink) {
      return StoreAnswer{.number = static_cast<std::int64_t>(store->size(key))};
    };
    const StoreCall call =
        read_call(StoreOp::deque_size, "deque_size", {&key, 1}, StoreCall::ignore);
    return count_of(layer.around(call, go));
  }

  void rotate(std::string_view key, std::int64_t steps) override {
    StoreCall call = write_call(StoreOp::rotate_deque, "rotate_deque", {&key, 1});
    call.delta = steps;
    const auto go = [&](StoreItemSink) {
      store->rotate(key, steps);
      return StoreAnswer{};
    };
    layer.around(call, go);
  }

  bool erase_deque(std::string_view key) override {
    const auto go = [&](StoreItemSink) { return StoreAnswer{.done = store->erase_deque(key)}; };
    return layer.around(write_call(StoreOp::erase_deque, "erase_deque", {&key, 1}), go).done;
  }

  Keeping keeping() override { return store->keeping(); }
};

}  // namespace polycache
