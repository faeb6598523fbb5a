// What tells the types of the values of a collection apart. A value is stored as the mark's length
// in one byte, the mark, and the codec's bytes.

#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "polycache/detail/type_name.h"

namespace polycache::detail {

// "#" and eight digits, for names of any length.
std::string short_mark(std::string_view type_name);

// A short word for what every compiler writes in the same way ("str", "i32"), else a hash of the
// compiler's name of the type.
template <class T>
std::string type_mark() {
  if constexpr (std::same_as<T, std::string>) return "str";
  if constexpr (std::same_as<T, std::vector<std::byte>>) return "bytes";
  if constexpr (std::same_as<T, bool>) return "bool";
  if constexpr (std::same_as<T, char>) return "char";
  // Appended, since g++ 12 takes "f" + std::to_string(n) for a mistake at -O3 (PR 105651), and
  // warns the user.
  const auto with_bits = [](const char* kind) {
    return std::string(kind).append(std::to_string(sizeof(T) * 8));
  };
  if constexpr (std::floating_point<T>) return with_bits("f");
  if constexpr (std::integral<T>) return with_bits(std::is_signed_v<T> ? "i" : "u");
  return short_mark(type_name<T>());
}

}  // namespace polycache::detail
