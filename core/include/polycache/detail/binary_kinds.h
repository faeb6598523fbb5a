// For codec_binary.h: which kind a type is of.

#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "polycache/codec.h"

namespace polycache {
template <class T>
struct BinaryCodec;
}  // namespace polycache

namespace polycache::detail::binary {

template <class T>
concept Character = AnyOf<T, char, wchar_t, char8_t, char16_t, char32_t>;

// A type that may be copied as raw memory: every bit pattern is a value.
template <class T>
concept Plain = Integer<T> || Character<T> || AnyOf<T, float, double, std::byte>;

template <class T>
concept Sized = requires(const T& values) {
  typename T::value_type;
  { values.size() } -> std::convertible_to<std::size_t>;
  values.begin();
  values.end();
};

// Contiguous elements that can be copied at once: std::string, std::vector<int>.
template <class T>
concept PlainSequence = Sized<T> && Plain<typename T::value_type> &&
    std::contiguous_iterator<decltype(std::declval<const T&>().begin())> &&
    requires(T& values, std::size_t size) {
  values.resize(size);
  values.data();
};

// Any other sequence. A class that contains itself, as nlohmann::json does, is not one.
template <class T>
concept Growing = Sized<T> && !std::same_as<typename T::value_type, T> && !requires {
  typename T::key_type;
}
&&requires(T& values) {
  values.clear();
  values.emplace_back();
};

template <class T>
concept Associative = Sized<T> && requires(T& values) {
  typename T::key_type;
  values.clear();
  values.end();
};

template <class T>
concept Map = Associative<T> && requires {
  typename T::mapped_type;
};

// A class whose Codec the user wrote or chose: neither our default nor this one.
template <class T>
concept ChosenCodec =
    std::is_class_v<T> && !AnyOf<T, std::string, std::vector<std::byte>> &&
    !std::derived_from<Codec<T>, FallbackCodec<T>> && !std::derived_from<Codec<T>, BinaryCodec<T>>;

template <class T>
concept Container = !ChosenCodec<T> && (PlainSequence<T> || Growing<T> || Associative<T>);

template <class T>
concept Class = std::is_class_v<T> && std::same_as<T, std::remove_cv_t<T>> && !Container<T>;

template <class T>
concept OwnCodec = Class<T> && Cacheable<T> && !std::derived_from<Codec<T>, BinaryCodec<T>> &&
                   (ChosenCodec<T> || !std::is_aggregate_v<T>);

template <class T>
concept Struct = Class<T> && std::is_aggregate_v<T>;

// Does not use std::default_initializable: for a struct that contains itself through a map, clang
// 14 evaluates that concept too early and remembers a false result.
template <class T>
concept MadeOfNothing = requires {
  T{};
};

// Creates a new T in `value`.
template <class T>
T& renew(std::optional<T>& value) {
  if constexpr (std::is_default_constructible_v<T>) {
    return value.emplace();
  } else {
    return value.emplace(T{});
  }
}

// A type of each of these kinds is described, written and read in one way (binary_wire.h).
template <class T>
concept StoredAtOnce = Container<T> && PlainSequence<T>;
template <class T>
concept StoredOneByOne = Container<T> && Growing<T> && !PlainSequence<T>;
template <class T>
concept StoredByKey = Container<T> && Associative<T>;
template <class T>
concept StoredByMember = Struct<T> && !OwnCodec<T>;
template <class T>
concept StoredByOwnCodec = Struct<T> && OwnCodec<T>;

}  // namespace polycache::detail::binary
