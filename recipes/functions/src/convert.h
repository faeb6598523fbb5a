// From the bytes of one type to those of another (docs/values.md, "Binary codec").

#pragma once

#include <string_view>

#include "polycache/detail/binary_io.h"

namespace polycache::detail::functions {

enum class Conversion : unsigned char {
  done,
  other_types,  // there is none between these types
  narrows,      // the value would lose by it
};

// Appends to `out` what `bytes`, of the type `from`, are as `to`.
Conversion convert(std::string_view from, std::string_view bytes, std::string_view to,
                   binary::Writer& out);

// The types of "(i64,[c8])", one after another: removes the first one from `rest`, which begins
// behind the bracket. Empty at the end.
std::string_view take_type(std::string_view& rest) noexcept;

}  // namespace polycache::detail::functions
