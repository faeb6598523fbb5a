// The name of a type.

#pragma once

#include <cstddef>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache::detail {

// As the compiler writes it: two compilers may differ.
template <class T>
constexpr std::string_view type_name() {
  const std::string_view whole = __PRETTY_FUNCTION__;
  const std::size_t begin = whole.find("T = ") + 4;
  return whole.substr(begin, whole.find_first_of(";]", begin) - begin);
}

}  // namespace polycache::detail
