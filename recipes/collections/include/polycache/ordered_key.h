// Bytes for a value, whose order is the order of the values: the keys of an Index (index.h).
//
// Known are bools, integers, float and double, enums, std::string, durations, moments of
// system_clock, optionals, pairs, tuples, arrays, variants, containers with push_back(), and
// structs of members that are known (no base class, no constructor, at most 16 members; their order
// is that of their members, as of a defaulted operator<=>). For another type, name one that is
// known and that has its order:
//
//   template <>
//   struct polycache::OrderedKey<shop::Version> {
//     using As = std::tuple<int, int>;
//     static As to(const shop::Version& version) { return {version.major(), version.minor()}; }
//     static shop::Version from(const As& as) { return shop::Version(as); }
//   };
//
// For values a and b of one type, a < b if and only if the bytes of a are less than those of b, as
// memcmp() compares them; an optional without a value comes first. -0.0 is 0.0. NaN is refused, for
// it has no place in an order. The bytes of one type are never the beginning of others.
//
//   bool                 1 byte
//   integers, enums      8 bytes, the greatest first; of signed ones, the sign is inverted
//   float, double        8 bytes of the double; negative: all bits inverted, else the sign
//   std::string          its bytes, a zero as 00 FF; then 00 01
//   duration, moment     the count
//   optional             0; or 1 and the value
//   pair, tuple, array   one after another; so is a struct
//   variant              the index in 1 byte, and the value
//   container            1 and the value for each; then 0

#pragma once

#include <bit>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "polycache/detail/binary_members.h"
#include "polycache/detail/refusals.h"
#include "polycache/error.h"

namespace polycache {

// Specialise it for a type of yours.
template <class T>
struct OrderedKey {};

}  // namespace polycache

namespace polycache::detail::ordered {

template <class T>
concept HasOwnOrder = requires(const T& value) {
  typename OrderedKey<T>::As;
  { OrderedKey<T>::to(value) } -> std::convertible_to<typename OrderedKey<T>::As>;
};
template <class T>
concept Integer = std::integral<T> && !std::same_as<T, bool>;
// Every float is a double, too; not every long double.
template <class T>
concept Float = std::same_as<T, float> || std::same_as<T, double>;
template <class T>
concept TupleLike = requires {
  std::tuple_size<T>::value;
};
template <class T>
concept Container = requires(T& container, typename T::value_type item) {
  container.push_back(std::move(item));
  container.begin() == container.end();
}
&&!std::same_as<T, std::string>;
template <class T>
concept Aggregate = std::is_class_v<T> && std::is_aggregate_v<T> && !TupleLike<T>;

template <class T>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;
template <class T>
inline constexpr bool is_moment = false;
template <class Duration>
inline constexpr bool is_moment<std::chrono::time_point<std::chrono::system_clock, Duration>> =
    true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_variant = false;
template <class... T>
inline constexpr bool is_variant<std::variant<T...>> = sizeof...(T) < 256;

template <class T>
consteval bool has_order();

template <class Tuple>
inline constexpr bool have_order = false;
template <class... T>
inline constexpr bool have_order<std::tuple<T...>> = (has_order<std::remove_cvref_t<T>>() && ...);
template <class... T>
inline constexpr bool have_order<std::variant<T...>> = (has_order<T>() && ...);

template <class T, std::size_t... i>
std::tuple<std::tuple_element_t<i, T>...> elements_of(std::index_sequence<i...>);
template <class T>
using ElementsOf = decltype(elements_of<T>(std::make_index_sequence<std::tuple_size<T>::value>()));

// The members of a struct, as a tuple of references. None for a struct that is not known.
template <class T>
using MembersOf = decltype(binary::members_of(std::declval<T&>()));
template <class T>
consteval bool has_known_members() {
  return std::is_empty_v<T> || std::tuple_size<MembersOf<T>>::value > 0;
}

template <class T>
consteval bool has_order() {
  if constexpr (HasOwnOrder<T>) {
    return has_order<typename OrderedKey<T>::As>();
  } else if constexpr (std::same_as<T, bool> || Integer<T> || Float<T> || std::is_enum_v<T> ||
                       std::same_as<T, std::string> || std::same_as<T, std::monostate>) {
    return true;
  } else if constexpr (is_duration<T>) {
    return has_order<typename T::rep>();
  } else if constexpr (is_moment<T>) {
    return has_order<typename T::duration>();
  } else if constexpr (is_optional<T>) {
    return has_order<typename T::value_type>();
  } else if constexpr (is_variant<T>) {
    return have_order<T>;
  } else if constexpr (TupleLike<T>) {
    return have_order<ElementsOf<T>>;
  } else if constexpr (Container<T>) {
    return has_order<typename T::value_type>();
  } else if constexpr (Aggregate<T>) {
    if constexpr (has_known_members<T>()) return have_order<MembersOf<T>>;
    return false;
  } else {
    return false;
  }
}

// --- The type, in words ---

template <class T>
std::string type_text();

template <class... T>
std::string type_texts(std::string_view between) {
  std::string text;
  ((text += (text.empty() ? std::string() : std::string(between)) + type_text<T>()), ...);
  return text;
}
template <class Tuple>
struct TextOf;
template <class... T>
struct TextOf<std::tuple<T...>> {
  static std::string get() { return '(' + type_texts<std::remove_cvref_t<T>...>(", ") + ')'; }
};
template <class... T>
struct TextOf<std::variant<T...>> {
  static std::string get() { return '(' + type_texts<T...>(" or ") + ')'; }
};

template <class T>
std::string type_text() {
  if constexpr (HasOwnOrder<T>) {
    return type_text<typename OrderedKey<T>::As>();
  } else if constexpr (std::same_as<T, bool>) {
    return "bool";
  } else if constexpr (std::is_enum_v<T>) {
    return type_text<std::underlying_type_t<T>>();
  } else if constexpr (Integer<T>) {
    return std::is_signed_v<T> ? "integer" : "unsigned";
  } else if constexpr (Float<T>) {
    return "float";
  } else if constexpr (std::same_as<T, std::string>) {
    return "text";
  } else if constexpr (std::same_as<T, std::monostate>) {
    return "nothing";
  } else if constexpr (is_duration<T>) {
    using Period = typename T::period::type;
    return type_text<typename T::rep>() + " times " + std::to_string(Period::num) + '/' +
           std::to_string(Period::den) + " s";
  } else if constexpr (is_moment<T>) {
    return "moment in " + type_text<typename T::duration>();
  } else if constexpr (is_optional<T>) {
    return "optional " + type_text<typename T::value_type>();
  } else if constexpr (is_variant<T>) {
    return TextOf<T>::get();
  } else if constexpr (TupleLike<T>) {
    return TextOf<ElementsOf<T>>::get();
  } else if constexpr (Container<T>) {
    return '[' + type_text<typename T::value_type>() + ']';
  } else {
    return TextOf<MembersOf<T>>::get();
  }
}

// --- Writing ---

inline void append_number(std::string& out, std::uint64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(number >> shift & 0xffU);
}

inline constexpr std::uint64_t sign_bit = std::uint64_t{1} << 63U;

inline std::uint64_t ordered_bits(double number) {
  if (std::isnan(number))
    throw InvalidKey("NaN is no key of an index: it has no place in an order");
  const auto bits = std::bit_cast<std::uint64_t>(number == 0 ? 0.0 : number);  // also -0.0
  return (bits & sign_bit) != 0 ? ~bits : bits | sign_bit;
}
inline double from_ordered_bits(std::uint64_t bits) noexcept {
  return std::bit_cast<double>((bits & sign_bit) != 0 ? bits & ~sign_bit : ~bits);
}

inline void append_text(std::string& out, std::string_view text) {
  for (std::size_t zero = text.find('\0'); zero != text.npos; zero = text.find('\0')) {
    out.append(text.substr(0, zero + 1)) += '\xFF';
    text.remove_prefix(zero + 1);
  }
  out.append(text).append("\0\x01", 2);
}

template <class T>
void append(std::string& out, const T& value) {
  if constexpr (HasOwnOrder<T>) {
    append<typename OrderedKey<T>::As>(out, OrderedKey<T>::to(value));
  } else if constexpr (std::same_as<T, bool>) {
    out += value ? '\1' : '\0';
  } else if constexpr (std::is_enum_v<T>) {
    append(out, static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (Integer<T>) {
    using Wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
    const auto bits = static_cast<std::uint64_t>(static_cast<Wide>(value));
    append_number(out, std::is_signed_v<T> ? bits ^ sign_bit : bits);
  } else if constexpr (Float<T>) {
    append_number(out, ordered_bits(value));
  } else if constexpr (std::same_as<T, std::string>) {
    append_text(out, value);
  } else if constexpr (std::same_as<T, std::monostate>) {
    // Nothing tells one from another.
  } else if constexpr (is_duration<T>) {
    append(out, value.count());
  } else if constexpr (is_moment<T>) {
    append(out, value.time_since_epoch());
  } else if constexpr (is_optional<T>) {
    out += value ? '\1' : '\0';
    if (value) append(out, *value);
  } else if constexpr (is_variant<T>) {
    if (value.valueless_by_exception()) throw InvalidKey("a variant without a value is no key");
    out += static_cast<char>(value.index());
    std::visit([&](const auto& held) { append(out, held); }, value);
  } else if constexpr (TupleLike<T>) {
    std::apply([&](const auto&... item) { (append(out, item), ...); }, value);
  } else if constexpr (Container<T>) {
    for (const auto& item : value) {
      out += '\1';
      append<typename T::value_type>(out, item);
    }
    out += '\0';
  } else {
    std::apply([&](const auto&... member) { (append(out, member), ...); },
               binary::members_of(value));
  }
}

// --- Reading ---

inline bool read_byte(std::string_view& rest, unsigned char& byte) noexcept {
  if (rest.empty()) return false;
  byte = static_cast<unsigned char>(rest.front());
  rest.remove_prefix(1);
  return true;
}

// Of bool, optional and container.
inline bool read_flag(std::string_view& rest, bool& flag) noexcept {
  unsigned char byte = 0;
  if (!read_byte(rest, byte) || byte > 1) return false;
  flag = byte == 1;
  return true;
}

inline bool read_number(std::string_view& rest, std::uint64_t& number) noexcept {
  if (rest.size() < 8) return false;
  number = 0;
  for (int i = 0; i < 8; ++i) {
    unsigned char byte = 0;
    read_byte(rest, byte);
    number = number << 8U | byte;
  }
  return true;
}

inline bool read_text(std::string_view& rest, std::string& text) {
  text.clear();
  for (;;) {
    const std::size_t zero = rest.find('\0');
    if (zero == rest.npos || zero + 1 == rest.size()) return false;
    const char after = rest[zero + 1];
    text.append(rest.substr(0, zero));
    rest.remove_prefix(zero + 2);
    if (after == '\x01') return true;
    if (after != '\xFF') return false;
    text += '\0';
  }
}

// Reads the value that the rest begins with, and shortens the rest by it. Returns false if it
// begins with none.
template <class T>
bool read(std::string_view& rest, T& value);

template <class T>
bool read_integer(std::string_view& rest, T& value) noexcept {
  std::uint64_t bits = 0;
  if (!read_number(rest, bits)) return false;
  if constexpr (std::is_signed_v<T>) {
    const auto wide = static_cast<std::int64_t>(bits ^ sign_bit);
    value = static_cast<T>(wide);
    return wide >= std::numeric_limits<T>::min() && wide <= std::numeric_limits<T>::max();
  } else {
    value = static_cast<T>(bits);
    return bits <= std::numeric_limits<T>::max();
  }
}

template <class T>
bool read_float(std::string_view& rest, T& value) noexcept {
  std::uint64_t bits = 0;
  if (!read_number(rest, bits)) return false;
  const double wide = from_ordered_bits(bits);
  value = static_cast<T>(wide);
  return static_cast<double>(value) == wide;
}

template <class T, std::size_t i = 0>
bool read_alternative(std::string_view& rest, T& value, std::size_t index) {
  if constexpr (i == std::variant_size_v<T>) {
    return false;
  } else {
    if (index == i) return read(rest, value.template emplace<i>());
    return read_alternative<T, i + 1>(rest, value, index);
  }
}

template <class T>
bool read(std::string_view& rest, T& value) {
  if constexpr (HasOwnOrder<T>) {
    typename OrderedKey<T>::As as{};
    if (!read(rest, as)) return false;
    value = OrderedKey<T>::from(std::move(as));
    return true;
  } else if constexpr (std::same_as<T, bool>) {
    return read_flag(rest, value);
  } else if constexpr (std::is_enum_v<T>) {
    std::underlying_type_t<T> number{};
    if (!read(rest, number)) return false;
    value = static_cast<T>(number);
    return true;
  } else if constexpr (Integer<T>) {
    return read_integer(rest, value);
  } else if constexpr (Float<T>) {
    return read_float(rest, value);
  } else if constexpr (std::same_as<T, std::string>) {
    return read_text(rest, value);
  } else if constexpr (std::same_as<T, std::monostate>) {
    return true;
  } else if constexpr (is_duration<T>) {
    typename T::rep count{};
    if (!read(rest, count)) return false;
    value = T(count);
    return true;
  } else if constexpr (is_moment<T>) {
    typename T::duration since{};
    if (!read(rest, since)) return false;
    value = T(since);
    return true;
  } else if constexpr (is_optional<T>) {
    bool has_value = false;
    if (!read_flag(rest, has_value)) return false;
    value.reset();
    return !has_value || read(rest, value.emplace());
  } else if constexpr (is_variant<T>) {
    unsigned char index = 0;
    return read_byte(rest, index) && read_alternative(rest, value, index);
  } else if constexpr (TupleLike<T>) {
    return std::apply([&](auto&... item) { return (read(rest, item) && ...); }, value);
  } else if constexpr (Container<T>) {
    value.clear();
    for (bool has_more = false; read_flag(rest, has_more);) {
      if (!has_more) return true;
      typename T::value_type item{};
      if (!read(rest, item)) return false;
      value.push_back(std::move(item));
    }
    return false;
  } else {
    return std::apply([&](auto&... member) { return (read(rest, member) && ...); },
                      binary::members_of(value));
  }
}

}  // namespace polycache::detail::ordered

namespace polycache {

// Whether T can be a key of an Index: it is known or has an OrderedKey, and can be made of {}.
template <class T>
concept Orderable = std::same_as<T, std::remove_cvref_t<T>> && std::default_initializable<T> &&
    detail::ordered::has_order<T>();

// The bytes of a key. Throws InvalidKey for NaN and for a variant without a value.
template <Orderable T>
std::string ordered_bytes(const T& key) {
  std::string bytes;
  detail::ordered::append(bytes, key);
  return bytes;
}

// The key of these bytes; empty if they are those of no T.
template <Orderable T>
std::optional<T> from_ordered_bytes(std::string_view bytes) {
  T key{};
  if (!detail::ordered::read(bytes, key) || !bytes.empty()) return std::nullopt;
  return key;
}

}  // namespace polycache
