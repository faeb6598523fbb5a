// The templates of Cache: between the types of a call and the functions that do the work. cache.h
// includes it.

#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/cache.h"

namespace polycache {

template <class T>
std::optional<T> Cache::get(KeyView key, ReadOptions options) {
  detail::require_codec<T>();
  std::optional<T> result;
  if constexpr (Cacheable<T>) {
    const bool found = read_bytes(key, options, [&result](std::string_view bytes) {
      return detail::decode_into(result, bytes);
    });
    if (!found) result.reset();
  }
  return result;
}

template <class T>
bool Cache::set(KeyView key, const T& value, const WriteOptions& options) {
  const ItemView item(key, value);
  return put_bytes(
      key, [&item](std::string& scratch) { return item.encode(scratch); }, options,
      PutMode::always);
}

template <class T>
bool Cache::add(KeyView key, const T& value, const WriteOptions& options) {
  const ItemView item(key, value);
  return put_bytes(
      key, [&item](std::string& scratch) { return item.encode(scratch); }, options,
      PutMode::if_absent);
}

template <class T, class Make>
auto Cache::get_or_set(KeyView key, Make&& make, const LoadOptions& options) ->
    typename detail::MadeBy<T, Make>::type {
  using Value = typename detail::MadeBy<T, Make>::value;
  using Made = typename detail::MadeBy<T, Make>::type;
  if constexpr (std::same_as<Value, detail::Nothing>) {
    static_assert(detail::refused<Make>,
                  "polycache: the function of get_or_set() returns void: it must return the value");
  } else if constexpr (std::same_as<std::remove_cvref_t<Make>, std::nullptr_t>) {
    detail::refuse_value<std::remove_cvref_t<Make>>();
  } else {
    detail::require_codec<Value>();
  }
  if constexpr (Cacheable<Value> && !std::same_as<std::remove_cvref_t<Make>, std::nullptr_t>) {
    detail::CalledLoad<Value, Make&&> task(std::forward<Make>(make));
    const bool found = get_or_set_bytes(key, options, task);
    if constexpr (std::same_as<Made, std::optional<Value>>) {
      if (!found) task.value.reset();
      return std::move(task.value);
    } else {
      return std::move(*task.value);
    }
  } else {
    __builtin_unreachable();  // refused above
  }
}

template <class T, class F>
std::vector<std::optional<T>> Cache::get_or_set_many_of(std::span<const std::string_view> keys,
                                                        F&& f, const LoadOptions& options) {
  detail::require_codec<T>();
  if constexpr (!std::invocable<F&, std::span<const std::string>>) {
    static_assert(detail::refused<F>,
                  "polycache: get_or_set_many() calls f(std::span<const std::string> keys), which "
                  "returns a vector of optionals in that order, or a map");
    return {};
  } else {
    detail::LoadManyOf<T, F&> task(keys.size(), f);
    const Unloaded unloaded = get_or_set_many_bytes(keys, options, task);
    if (!unloaded.cause) return std::move(task.values);
    using Known = std::map<std::string, T, std::less<>>;
    auto known = std::make_shared<Known>();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (task.values[i]) known->insert_or_assign(std::string(keys[i]), std::move(*task.values[i]));
    }
    std::vector<std::string> failed;
    for (const std::size_t i : unloaded.keys) failed.emplace_back(keys[i]);
    const std::string message =
        detail::partial_message(alias(), failed, keys.size(), unloaded.cause);
    try {
      std::rethrow_exception(unloaded.cause);
    } catch (...) {
      throw PartialLoad(message, std::move(failed), std::shared_ptr<const Known>(std::move(known)));
    }
  }
}

template <class T, detail::KeyRange R, class F>
std::vector<std::optional<T>> Cache::get_or_set_many(R&& keys, F&& f, const LoadOptions& options) {
  return get_or_set_many_of<T>(detail::KeyList<std::remove_reference_t<R>>(keys).texts(), f,
                               options);
}

template <class T, class F>
std::vector<std::optional<T>> Cache::get_or_set_many(std::initializer_list<KeyView> keys, F&& f,
                                                     const LoadOptions& options) {
  return get_or_set_many_of<T>(texts(keys), f, options);
}

template <class T, class F>
bool Cache::update(KeyView key, F&& f, const WriteOptions& options) {
  detail::require_codec<T>();
  if constexpr (!std::is_invocable_r_v<std::optional<T>, F&, std::optional<T>>) {
    static_assert(detail::refused<F>,
                  "polycache: update<T>() calls f(std::optional<T> old), which returns a T or a "
                  "std::optional<T>");
    return false;
  } else if constexpr (Cacheable<T>) {
    std::optional<T> value;
    return update_bytes(
        key,
        [&value](std::string_view bytes) {
          value.reset();
          return detail::decode_into(value, bytes);
        },
        [&](bool has_old, std::string& scratch) -> std::optional<std::string_view> {
          if (!has_old) value.reset();
          value = std::invoke(f, std::move(value));
          if (!value) return std::nullopt;
          return ItemView(key, *value).encode(scratch);
        },
        options);
  } else {
    return false;  // refused above
  }
}

template <class T>
std::optional<T> Cache::pop(KeyView key, KeyOptions options) {
  detail::require_codec<T>();
  std::optional<T> result;
  if constexpr (Cacheable<T>) {
    const bool found = pop_bytes(key, options, [&result](std::string_view bytes) {
      return detail::decode_into(result, bytes);
    });
    if (!found) result.reset();
  }
  return result;
}

template <class T, class Ask>
Entry<T> Cache::entry_of(Ask ask) {
  detail::require_codec<T>();
  Entry<T> entry;
  if constexpr (Cacheable<T>) {
    const auto decode = [&entry](std::string_view bytes) {
      return detail::decode_into(entry.value, bytes);
    };
    detail::EntryFacts facts = ask(Decode(decode));
    entry.status = facts.status;
    entry.created = facts.created;
    entry.left = facts.left;
    entry.tags = std::move(facts.tags);
    entry.error = std::move(facts.error);
    const bool has_value = entry.status == EntryStatus::hit || entry.status == EntryStatus::stale;
    if (!has_value) entry.value.reset();
  }
  return entry;
}

template <class T>
Entry<T> Cache::get_entry(KeyView key, ReadOptions options) {
  return entry_of<T>([&](Decode decode) { return get_entry_bytes(key, options, decode); });
}

template <class T>
Entry<T> Cache::pop_entry(KeyView key, KeyOptions options) {
  return entry_of<T>([&](Decode decode) { return pop_entry_bytes(key, options, decode); });
}

template <std::invocable<std::string_view> F>
bool Cache::visit(KeyView key, F&& f, ReadOptions options) {
  std::exception_ptr thrown;
  const bool found = visit_bytes(key, options, [&](std::string_view bytes) {
    try {
      std::invoke(f, bytes);
    } catch (...) {  // must not propagate through the store's code
      thrown = std::current_exception();
    }
    return true;
  });
  if (thrown) std::rethrow_exception(thrown);
  return found;
}

template <class T>
std::vector<std::optional<T>> Cache::get_many_of(std::span<const std::string_view> keys,
                                                 ReadOptions options) {
  detail::require_codec<T>();
  std::vector<std::optional<T>> result(keys.size());
  if constexpr (Cacheable<T>) {
    get_many_bytes(
        keys, options,
        [&result](std::size_t i, std::string_view bytes) {
          return detail::decode_into(result[i], bytes);
        },
        [&result](std::size_t i) { result[i].reset(); });
  }
  return result;
}

template <class T>
std::map<std::string, T, std::less<>> Cache::get_many_map_of(std::span<const std::string_view> keys,
                                                             ReadOptions options) {
  std::vector<std::optional<T>> values = get_many_of<T>(keys, options);
  std::map<std::string, T, std::less<>> result;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (values[i]) result.insert_or_assign(std::string(keys[i]), std::move(*values[i]));
  }
  return result;
}

template <class T, detail::KeyRange R>
std::vector<std::optional<T>> Cache::get_many(R&& keys, ReadOptions options) {
  return get_many_of<T>(detail::KeyList<std::remove_reference_t<R>>(keys).texts(), options);
}

template <class T>
std::vector<std::optional<T>> Cache::get_many(std::initializer_list<KeyView> keys,
                                              ReadOptions options) {
  return get_many_of<T>(texts(keys), options);
}

template <class T, detail::KeyRange R>
std::map<std::string, T, std::less<>> Cache::get_many_map(R&& keys, ReadOptions options) {
  return get_many_map_of<T>(detail::KeyList<std::remove_reference_t<R>>(keys).texts(), options);
}

template <class T>
std::map<std::string, T, std::less<>> Cache::get_many_map(std::initializer_list<KeyView> keys,
                                                          ReadOptions options) {
  return get_many_map_of<T>(texts(keys), options);
}

template <detail::PairRange R>
std::vector<std::string> Cache::set_many(R&& items, const WriteOptions& options) {
  using Reference = std::ranges::range_reference_t<R>;
  static_assert(std::is_reference_v<Reference> && std::ranges::forward_range<R>,
                "polycache: set_many() takes a range whose items stay where they are");
  std::vector<ItemView> views;
  if constexpr (std::ranges::sized_range<R>) {
    views.reserve(static_cast<std::size_t>(std::ranges::size(items)));
  }
  for (auto& item : items) views.emplace_back(item.first, item.second);
  return put_many_items(views, options);
}

template <detail::KeyRange R>
std::size_t Cache::erase_many(R&& keys, KeyOptions options) {
  return erase_many_keys(detail::KeyList<std::remove_reference_t<R>>(keys).texts(), options);
}

}  // namespace polycache
