// What memoize() can be told about a function. memoize.h includes it.

#pragma once

#include <cstddef>
#include <string>

#include "polycache/detail/export.h"

namespace polycache {

class CacheRegistry;

struct MemoizeOptions {
  std::string cache = "default";      // the alias
  CacheRegistry* registry = nullptr;  // [that of polycache::caches]
  int version = 1;                    // of the function: another one has other keys
  // Puts the type of each argument into the key: for a generic function, whose results for 1, 1u
  // and "1" differ. Other functions convert their arguments first. Types other than numbers and
  // texts have the name that the compiler gives them, so programs of two compilers may not share
  // such results.
  bool typed = false;
};

// The positions of parameters that do not matter for the result, such as a connection; 0 is the
// first. They need no key_of(), and may be pointers:
//
//   auto rows = polycache::memoize<polycache::Ignoring<0>>("rows", rows_of, {.timeout = 1min});
template <std::size_t... positions>
struct Ignoring {
  static constexpr bool has(std::size_t position) noexcept {
    return ((position == positions) || ...);
  }
  static constexpr bool fits(std::size_t count) noexcept { return ((positions < count) && ...); }
};

}  // namespace polycache
