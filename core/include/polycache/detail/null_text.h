// Texts that are null pointers. std::string_view accepts them and crashes. Here nullptr and 0 do
// not compile, and a null const char* throws an exception that names the cause.

#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include "polycache/detail/export.h"

namespace polycache::detail {

// For a static_assert that fails only where the enclosing function is used.
template <class...>
inline constexpr bool refused = false;

// A type that could be a null pointer in the place of a text; 0 is one, too.
template <class S>
concept PointerText = std::same_as<S, const char*> || std::same_as<S, char*> ||
    std::same_as<S, std::nullptr_t> || std::is_arithmetic_v<S>;

[[noreturn]] POLYCACHE_API void throw_null_key();    // InvalidKey
[[noreturn]] POLYCACHE_API void throw_null_value();  // ValueError
[[noreturn]] POLYCACHE_API void throw_null_text();   // ConfigError

// The text of an alias, a file name, a configuration.
template <PointerText S>
constexpr std::string_view text_of(S text) {
  if constexpr (std::is_pointer_v<S>) {
    if (text == nullptr) throw_null_text();
    return text;
  } else {
    static_assert(refused<S>,
                  "polycache: an alias, like every name and text here, is text and cannot be null: "
                  "caches[\"default\"]");
    return {};
  }
}

}  // namespace polycache::detail
