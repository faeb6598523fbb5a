// The text by which a value appears in a key: the arguments of a memoized function (memoize.h).
//
// Known are strings and views of strings, numbers, bools, enums, durations and moments, optionals,
// pairs, tuples, variants, std::filesystem::path, arrays, containers (types with value_type,
// size_type, begin() and end(): their elements are all that counts), and structs of members that
// are known (no base class, no constructor, at most 16 members). An unordered container is sorted.
// For another type, and where more counts than the elements, write a function in its namespace:
//
//   namespace shop {
//   std::string key_of(const Product& product) { return std::to_string(product.id); }
//   }
//
// It holds for classes that derive from the type, too. A null char pointer from it is refused
// (InvalidKey). Not known are pointers, also smart ones.
//
// Different values of one type have different texts, except that -0.0 is 0.0. NaN is refused, for
// it is not even equal to itself. The texts need no escape that any store or key function would
// add.

#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "polycache/detail/binary_members.h"
#include "polycache/detail/type_name.h"
#include "polycache/error.h"
#include "polycache/key.h"

namespace polycache::detail::keys {

// Found in the namespace of the type only: nothing of that name is declared here.
template <class T>
concept HasOwnKey = requires(const T& value) {
  { key_of(value) } -> std::convertible_to<std::string_view>;
};
// The text of a type of one's own is read as what it is, whatever else it converts to.
template <class T>
concept Text = std::same_as<T, const char*> || std::same_as<T, char*> ||
    (std::is_class_v<T>&& requires { typename T::traits_type; } &&
     std::convertible_to<const T&, std::string_view> && !std::same_as<T, std::filesystem::path>);
template <class T>
inline constexpr bool is_text_array = false;
template <std::size_t n>
inline constexpr bool is_text_array<char[n]> = true;
template <class T>
concept Number = std::is_arithmetic_v<T> && !std::same_as<T, bool> && !std::same_as<T, char>;
template <class T>
concept Items = (std::is_array_v<T> ||
                 requires {
                   typename T::value_type;
                   typename T::size_type;
                 }) &&
                std::ranges::input_range<const T> &&
                !std::same_as<std::remove_cv_t<std::ranges::range_value_t<const T>>, T>;
template <class T>
concept Duration = requires {
  typename T::period;
  { T::zero() } -> std::same_as<T>;
};
template <class T>
concept Moment = requires(const T& value) {
  typename T::clock;
  { value.time_since_epoch() } -> Duration;
};
template <class T>
concept Optional = requires(const T& value) {
  typename T::value_type;
  { value.has_value() } -> std::same_as<bool>;
  *value;
};
template <class T>
concept TupleLike = requires {
  std::tuple_size<T>::value;
};
template <class T>
concept Variant = requires {
  std::variant_size<T>::value;
};
template <class T>
concept Unordered = requires {
  typename T::hasher;
};
template <class T>
concept Aggregate = std::is_class_v<T> && std::is_aggregate_v<T>;

// Whether its members can be told apart: as many as there are in the braces. None can be if one of
// them cannot be made of {}.
template <class T>
consteval bool has_known_members() {
  if constexpr (binary::has_base<T>) {
    return false;
  } else {
    constexpr std::size_t count = binary::count_members<T>();
    return count <= binary::max_members && (count > 0 || std::is_empty_v<T>);
  }
}

// The parts of a variant, and of a pair, tuple or array.
template <class T>
struct Alternatives;
template <class... Ts>
struct Alternatives<std::variant<Ts...>> {
  using type = std::tuple<Ts...>;
};
template <class T>
using AlternativesOf = typename Alternatives<T>::type;
template <class T, std::size_t... i>
std::tuple<std::tuple_element_t<i, T>...> elements_of(std::index_sequence<i...>);
template <class T>
using ElementsOf = decltype(elements_of<T>(std::make_index_sequence<std::tuple_size<T>::value>()));

// Everything but letters, digits, '.', '_', '-' and bytes beyond ASCII as %XX.
inline void append_escaped(std::string& out, std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' ||
                          byte >= 0x80;
    if (is_plain) {
      out += c;
    } else {
      out += {'%', hex[byte >> 4U], hex[byte & 0xfU]};
    }
  }
}

template <Number N>
void append_number(std::string& out, N number) {
  if constexpr (std::floating_point<N>) {
    if (std::isnan(number)) {
      throw InvalidKey("NaN is no part of a key: it is not equal to itself");
    }
    if (number == 0) number = 0;  // also -0.0
  }
  std::array<char, 64> buffer;
  out.append(buffer.data(),
             std::to_chars(buffer.data(), buffer.data() + buffer.size(), number).ptr);
}

template <class T>
void append(std::string& out, const T& value);

// "(a,b,)": what ends each item tells an empty one from none.
template <class C>
void append_items(std::string& out, const C& items) {
  out += '(';
  if constexpr (Unordered<C>) {
    std::vector<std::string> texts;
    for (const auto& item : items) append(texts.emplace_back(), item);
    std::sort(texts.begin(), texts.end());
    for (const std::string& text : texts) out.append(text) += ',';
  } else {
    for (const auto& item : items) {
      append(out, static_cast<const std::ranges::range_value_t<const C>&>(item));
      out += ',';
    }
  }
  out += ')';
}

template <class Tuple>
void append_members(std::string& out, const Tuple& members) {
  out += '(';
  std::apply([&](const auto&... member) { ((append(out, member), out += ','), ...); }, members);
  out += ')';
}

// Whether a type has a text. `Around`: the types that it is a part of, for one that contains
// itself.
template <class T, class... Around>
consteval bool has_text();

template <class T, class Members, class... Around>
inline constexpr bool have_text = false;
template <class T, class... M, class... Around>
inline constexpr bool have_text<T, std::tuple<M...>, Around...> =
    (has_text<std::remove_cvref_t<M>, T, Around...>() && ...);

template <class T, class... Around>
consteval bool has_text() {
  if constexpr ((std::same_as<T, Around> || ...) || HasOwnKey<T> || Text<T> || is_text_array<T> ||
                std::is_arithmetic_v<T> || std::is_enum_v<T> || std::same_as<T, std::monostate> ||
                std::same_as<T, std::filesystem::path>) {
    return true;
  } else if constexpr (Duration<T>) {
    return has_text<typename T::rep>();
  } else if constexpr (Moment<T>) {
    return has_text<typename T::duration>();
  } else if constexpr (Optional<T>) {
    return has_text<std::remove_cvref_t<typename T::value_type>, T, Around...>();
  } else if constexpr (Variant<T>) {
    return have_text<T, AlternativesOf<T>, Around...>;
  } else if constexpr (Items<T>) {
    return has_text<std::remove_cvref_t<std::ranges::range_value_t<const T>>, T, Around...>();
  } else if constexpr (TupleLike<T>) {
    return have_text<T, ElementsOf<T>, Around...>;
  } else if constexpr (Aggregate<T>) {
    if constexpr (!has_known_members<T>()) {
      return false;
    } else {
      return have_text<T, decltype(binary::members_of(std::declval<T&>())), Around...>;
    }
  } else {
    return false;
  }
}

template <class T>
inline constexpr bool is_initializer_list = false;
template <class T>
inline constexpr bool is_initializer_list<std::initializer_list<T>> = true;

// Whether a copy of a value has all that the value refers to: no pointer, no view.
template <class T, class... Around>
consteval bool owns();

template <class T, class Members, class... Around>
inline constexpr bool all_own = true;
template <class T, class... M, class... Around>
inline constexpr bool all_own<T, std::tuple<M...>, Around...> =
    (owns<std::remove_cvref_t<M>, T, Around...>() && ...);

template <class T, class... Around>
consteval bool owns() {
  if constexpr ((std::same_as<T, Around> || ...)) {
    return true;
  } else if constexpr (std::is_pointer_v<T> || std::is_reference_v<T>) {
    return false;
  } else if constexpr (std::is_class_v<T> && std::ranges::view<T> && !Optional<T>) {
    return false;  // also std::span, std::string_view
  } else if constexpr (Optional<T>) {
    return owns<std::remove_cvref_t<typename T::value_type>, T, Around...>();
  } else if constexpr (Variant<T>) {
    return all_own<T, AlternativesOf<T>, Around...>;
  } else if constexpr (is_initializer_list<T>) {
    return false;
  } else if constexpr (Items<T> && !Text<T>) {
    return owns<std::remove_cvref_t<std::ranges::range_value_t<const T>>, T, Around...>();
  } else if constexpr (TupleLike<T>) {
    return all_own<T, ElementsOf<T>, Around...>;
  } else if constexpr (Aggregate<T>) {
    if constexpr (!has_known_members<T>()) {
      return true;  // it has a key_of() of its own
    } else {
      return all_own<T, decltype(binary::members_of(std::declval<T&>())), Around...>;
    }
  } else {
    return true;
  }
}

template <class T>
constexpr void refuse() {
  static_assert(refused<T>,
                "polycache: this type has no text for a key: write std::string key_of(const T&) "
                "in its namespace (polycache/key_of.h)");
}

template <class T>
void append(std::string& out, const T& value) {
  if constexpr (HasOwnKey<T>) {
    append_escaped(out, KeyView(key_of(value)).text());
  } else if constexpr (Text<T>) {
    append_escaped(out, KeyView(value).text());
  } else if constexpr (is_text_array<T>) {
    append_escaped(out, std::string_view(value, sizeof value));
  } else if constexpr (std::same_as<T, std::filesystem::path>) {
    append_escaped(out, value.native());
  } else if constexpr (std::same_as<T, bool>) {
    out += value ? '1' : '0';
  } else if constexpr (std::same_as<T, char>) {
    append_escaped(out, std::string_view(&value, 1));
  } else if constexpr (std::is_enum_v<T>) {
    append(out, static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (Number<T>) {
    append_number(out, value);
  } else if constexpr (Duration<T>) {
    append(out, value.count());
  } else if constexpr (Moment<T>) {
    append(out, value.time_since_epoch());
  } else if constexpr (Optional<T>) {
    if (!value.has_value()) {
      out += '~';
    } else {
      out += '(';
      append(out, static_cast<const typename T::value_type&>(*value));
      out += ')';
    }
  } else if constexpr (Variant<T>) {
    if (value.valueless_by_exception()) throw InvalidKey("a variant without a value is no key");
    append_number(out, value.index());
    out += '(';
    std::visit([&](const auto& held) { append(out, held); }, value);
    out += ')';
  } else if constexpr (std::same_as<T, std::monostate>) {
    out += '~';
  } else if constexpr (Items<T>) {
    append_items(out, value);
  } else if constexpr (TupleLike<T>) {
    append_members(out, value);
  } else if constexpr (Aggregate<T>) {
    if constexpr (has_known_members<T>()) {
      append_members(out, binary::members_of(value));
    } else {
      refuse<T>();
    }
  } else {
    refuse<T>();
  }
}

// Tells types apart, so that 1, 1u and "1" are different keys: a short word for what every compiler
// writes in the same way, else the compiler's name of the type.
template <class T>
void append_kind(std::string& out) {
  if constexpr (Text<T>) {
    out += "str";
  } else if constexpr (std::same_as<T, bool>) {
    out += "bool";
  } else if constexpr (std::same_as<T, char>) {
    out += "char";
  } else if constexpr (std::floating_point<T>) {
    out.append("f").append(std::to_string(sizeof(T) * 8));
  } else if constexpr (std::integral<T>) {
    out.append(std::is_signed_v<T> ? "i" : "u").append(std::to_string(sizeof(T) * 8));
  } else {
    append_escaped(out, type_name<T>());
  }
}

// As one part of a key that polycache::key() makes: a text looks as it does there, but for '@'. A
// recipe that writes "@1" behind a name has the only '@' of its keys there, so that none of them is
// one of a recipe that does not: memoize("a:b", f) has "a:b@1", a loader "a" has "a:b%401".
template <class T>
void append_part(std::string& out, const T& value) {
  if constexpr (Text<T> && !HasOwnKey<T>) {
    std::size_t at = out.size();
    append_key_part(out, KeyView(value).text());
    while ((at = out.find('@', at)) != std::string::npos) out.replace(at, 1, "%40");
  } else {
    out += ':';
    append(out, value);
  }
}

}  // namespace polycache::detail::keys
