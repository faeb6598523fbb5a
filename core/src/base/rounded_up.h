// Converts numbers with a fraction to whole milliseconds and bytes.

#pragma once

#include <cstdint>
#include <optional>

namespace polycache {

// The least integer that is not below `value`, so that nothing positive becomes zero. Ignores the
// rounding error of a multiplication (0.57 * 1000 may be slightly over 570). Empty beyond 64 bits.
std::optional<std::int64_t> rounded_up(double value) noexcept;

}  // namespace polycache
