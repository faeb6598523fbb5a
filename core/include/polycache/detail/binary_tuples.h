// For codec_binary.h: arrays, optionals, pairs, tuples and variants.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "polycache/detail/binary_members.h"
#include "polycache/detail/binary_wire.h"

namespace polycache::detail::binary {

template <class T>
requires(Container<T>&& Associative<T>) struct Wire<T> {
  using Key = typename T::key_type;
  static constexpr std::size_t least = 1;

  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("{");
    Wire<Key>::template describe<Enclosing...>(signature);
    if constexpr (Map<T>) {
      signature.add(":");
      Wire<typename T::mapped_type>::template describe<Enclosing...>(signature);
    }
    signature.add("}");
  }
  static void write(Writer& out, const T& values) {
    out.put_size(values.size());
    for (const auto& element : values) {
      if constexpr (Map<T>) {
        Wire<Key>::write(out, element.first);
        Wire<typename T::mapped_type>::write(out, element.second);
      } else {
        Wire<Key>::write(out, element);
      }
    }
  }
  static bool read(Reader& in, T& values) {
    std::size_t size = 0;
    if (!in.get_size(size, least_of_element())) return false;
    values.clear();
    for (std::size_t i = 0; i != size; ++i)
      if (!read_one(in, values)) return false;
    return values.size() == size;
  }

 private:
  static constexpr std::size_t least_of_element() noexcept {
    if constexpr (Map<T>) {
      return Wire<Key>::least + Wire<typename T::mapped_type>::least;
    } else {
      return Wire<Key>::least;
    }
  }
  static bool read_one(Reader& in, T& values) {
    Key key{};
    if (!Wire<Key>::read(in, key)) return false;
    if constexpr (Map<T>) {
      using Mapped = typename T::mapped_type;
      Mapped mapped{};
      if (!Wire<Mapped>::read(in, mapped)) return false;
      values.emplace_hint(values.end(), std::move(key), std::move(mapped));
    } else {
      values.emplace_hint(values.end(), std::move(key));
    }
    return true;
  }
};

// An array of fixed size: std::array or built-in.
template <class Array, class Element, std::size_t size>
struct ArrayWire {
  static constexpr std::size_t least = size == 0 ? 1 : size * Wire<Element>::least;
  static constexpr bool copied_at_once =
      Plain<Element> && (sizeof(Element) == 1 || std::endian::native == std::endian::little);

  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("[");
    Wire<Element>::template describe<Enclosing...>(signature);
    signature.add(";");
    signature.add(static_cast<std::intmax_t>(size));
    signature.add("]");
  }
  static void write(Writer& out, const Array& values) {
    if constexpr (size == 0) {
      out.put(std::uint8_t{0});
    } else if constexpr (copied_at_once) {
      out.put_bytes(std::data(values), size * sizeof(Element));
    } else {
      for (const Element& element : values) Wire<Element>::write(out, element);
    }
  }
  static bool read(Reader& in, Array& values) {
    if constexpr (size == 0) {
      std::uint8_t nothing = 1;
      return in.get(nothing) && nothing == 0;
    } else if constexpr (copied_at_once) {
      return in.get_bytes(std::data(values), size * sizeof(Element));
    } else {
      for (Element& element : values)
        if (!Wire<Element>::read(in, element)) return false;
      return true;
    }
  }
};

template <class T, std::size_t size>
struct Wire<std::array<T, size>> : ArrayWire<std::array<T, size>, T, size> {};
template <class T, std::size_t size>
struct Wire<T[size]> : ArrayWire<T[size], T, size> {};

template <class T>
struct Wire<std::optional<T>> {
  static constexpr std::size_t least = 1;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("?(");
    Wire<T>::template describe<Enclosing...>(signature);
    signature.add(")");
  }
  static void write(Writer& out, const std::optional<T>& value) {
    Wire<bool>::write(out, value.has_value());
    if (value) Wire<T>::write(out, *value);
  }
  static bool read(Reader& in, std::optional<T>& value) {
    bool is_there = false;
    if (!in.get_flag(is_there)) return false;
    value.reset();
    return !is_there || Wire<T>::read(in, renew(value));
  }
};

// Adds the types in order, separated by commas.
template <class Tuple, class... Enclosing>
struct Described;
template <class... Types, class... Enclosing>
struct Described<std::tuple<Types...>, Enclosing...> {
  static constexpr void add_to(Signature& signature) noexcept {
    [[maybe_unused]] bool first = true;
    ((signature.add(std::exchange(first, false) ? "" : ","),
      Wire<std::remove_reference_t<Types>>::template describe<Enclosing...>(signature)),
     ...);
  }
};

template <class Tuple>
inline constexpr std::size_t least_of = 0;
template <class... Types>
inline constexpr std::size_t least_of<std::tuple<Types...>> =
    std::max(std::size_t{1}, (Wire<std::remove_reference_t<Types>>::least + ... + std::size_t{0}));

// Writes the elements of a tuple, of values or of references, in order.
template <class Tuple>
void write_elements(Writer& out, const Tuple& elements) {
  std::apply(
      [&out](const auto&... element) {
        if constexpr (sizeof...(element) == 0) out.put(std::uint8_t{0});
        (Wire<std::remove_cvref_t<decltype(element)>>::write(out, element), ...);
      },
      elements);
}

template <class Tuple>
bool read_elements(Reader& in, Tuple&& elements) {
  return std::apply(
      [&in](auto&... element) {
        if constexpr (sizeof...(element) == 0) {
          std::uint8_t nothing = 1;
          return in.get(nothing) && nothing == 0;
        } else {
          return (Wire<std::remove_cvref_t<decltype(element)>>::read(in, element) && ...);
        }
      },
      elements);
}

// A pair or tuple; Elements lists its types.
template <class T, class Elements>
struct TupleWire {
  static constexpr std::size_t least = least_of<Elements>;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("(");
    Described<Elements, Enclosing...>::add_to(signature);
    signature.add(")");
  }
  static void write(Writer& out, const T& value) { write_elements(out, value); }
  static bool read(Reader& in, T& value) { return read_elements(in, value); }
};

template <class First, class Second>
struct Wire<std::pair<First, Second>>
    : TupleWire<std::pair<First, Second>, std::tuple<First, Second>> {};
template <class... Types>
struct Wire<std::tuple<Types...>> : TupleWire<std::tuple<Types...>, std::tuple<Types...>> {};
template <>
struct Wire<std::monostate> : TupleWire<std::tuple<>, std::tuple<>> {
  static void write(Writer& out, std::monostate) { write_elements(out, std::tuple<>()); }
  static bool read(Reader& in, std::monostate&) noexcept {
    return read_elements(in, std::tuple<>());
  }
};

template <class... Types>
struct Wire<std::variant<Types...>> {
  using Variant = std::variant<Types...>;
  static_assert(sizeof...(Types) <= 255, "polycache::BinaryCodec: more than 255 alternatives");
  static constexpr std::size_t least = 1 + std::min({Wire<Types>::least...});

  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("|(");
    Described<std::tuple<Types...>, Enclosing...>::add_to(signature);
    signature.add(")");
  }
  // Throws std::bad_variant_access if the variant has lost its value.
  static void write(Writer& out, const Variant& value) {
    if (value.valueless_by_exception()) throw std::bad_variant_access();
    out.put(static_cast<std::uint8_t>(value.index()));
    std::visit([&out]<class T>(const T& held) { Wire<T>::write(out, held); }, value);
  }
  static bool read(Reader& in, Variant& value) {
    std::uint8_t index = 0;
    if (!in.get(index)) return false;
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      bool is_read = false;
      static_cast<void>(
          ((index == i && (is_read = Wire<Types>::read(in, value.template emplace<i>()), true)) ||
           ...));
      return is_read;
    }
    (std::index_sequence_for<Types...>());
  }
};

}  // namespace polycache::detail::binary
