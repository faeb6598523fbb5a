// The hooks of the extensions for collections.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/extension_hook.h"
#include "polycache/author/deque_extension.h"
#include "polycache/author/index_extension.h"

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

template <>
struct Hook<IndexExtension> : HookOf<IndexExtension> {
  using HookOf::HookOf;

  bool find(const Place& place, std::string_view key, ValueSink sink) override {
    const auto deliver = [&](const StoreItem& item) { sink(value_of(item)); };
    StoreCall call = read_call(StoreOp::find_in_index, "find_in_index", {&place.key, 1}, deliver);
    call.expected = key;
    const auto go = [&](StoreItemSink each) {
      return StoreAnswer{
          .done = store->find(place, key, [&](std::string_view value) { each({.value = value}); })};
    };
    return layer.around(call, go).done;
  }

  Put put(const Place& place, std::string_view key, std::string_view value, PutMode mode,
          ValueSink sink) override {
    const auto deliver = [&](const StoreItem& item) { sink(value_of(item)); };
    StoreCall call = write_call(StoreOp::put_in_index, "put_in_index", {&place.key, 1}, deliver);
    call.expected = key;
    call.new_value = value;
    call.mode = mode;
    bool was_there = false;
    const auto go = [&](StoreItemSink each) {
      const Put put = store->put(place, key, value, mode,
                                 [&](std::string_view held) { each({.value = held}); });
      was_there = put.was_there;
      return StoreAnswer{.done = put.stored};
    };
    const bool stored = layer.around(call, go).done;
    return {.stored = stored, .was_there = was_there};
  }

  bool erase(const Place& place, std::string_view key, ValueSink sink) override {
    const auto deliver = [&](const StoreItem& item) { sink(value_of(item)); };
    StoreCall call =
        write_call(StoreOp::erase_from_index, "erase_from_index", {&place.key, 1}, deliver);
    call.expected = key;
    const auto go = [&](StoreItemSink each) {
      return StoreAnswer{.done = store->erase(
                             place, key, [&](std::string_view value) { each({.value = value}); })};
    };
    return layer.around(call, go).done;
  }

  bool take(const Place& place, Side side, EntrySink sink) override {
    Entry entry;  // what StoreItem has no place for
    const auto deliver = [&](const StoreItem& item) { deliver_entry(item, entry, sink); };
    const auto go = [&](StoreItemSink each) {
      return StoreAnswer{.done = store->take(place, side, [&](const Entry& taken) {
        entry = taken;
        each({.value = taken.value});
        entry = {};
      })};
    };
    return layer
        .around(write_call(StoreOp::take_from_index, "take_from_index", {&place.key, 1}, deliver),
                go)
        .done;
  }

  bool list(const Place& place, const Range& range, EntrySink sink) override {
    Entry entry;
    const auto deliver = [&](const StoreItem& item) { deliver_entry(item, entry, sink); };
    const auto go = [&](StoreItemSink each) {
      return StoreAnswer{.done = store->list(place, range, [&](const Entry& listed) {
        entry = listed;
        each({.value = listed.value});
        entry = {};
      })};
    };
    return layer.around(read_call(StoreOp::list_index, "list_index", {&place.key, 1}, deliver), go)
        .done;
  }

  std::uint64_t count(const Place& place) override {
    const auto go = [&](StoreItemSink) {
      return StoreAnswer{.number = static_cast<std::int64_t>(store->count(place))};
    };
    return count_of(layer.around(
        read_call(StoreOp::count_index, "count_index", {&place.key, 1}, StoreCall::ignore), go));
  }

  std::uint64_t clear(const Place& place) override {
    const auto go = [&](StoreItemSink) {
      return StoreAnswer{.number = static_cast<std::int64_t>(store->clear(place))};
    };
    return count_of(
        layer.around(write_call(StoreOp::clear_index, "clear_index", {&place.key, 1}), go));
  }

  LockExtension::Keeping keeping() override { return store->keeping(); }

 private:
  static void deliver_entry(const StoreItem& item, const Entry& entry, EntrySink sink) {
    sink({.key = entry.key, .value = value_of(item), .position = entry.position});
  }
};

}  // namespace polycache
