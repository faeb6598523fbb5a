// How numbers with a fraction become whole milliseconds and bytes.

#pragma once

#include <cstdint>
#include <optional>

namespace polycache {

// The least integer that is not below `value`, so that nothing positive becomes zero. The noise of
// a multiplication (0.57 * 1000 may be a little over 570) does not count. Empty beyond 64 bits.
std::optional<std::int64_t> rounded_up(double value) noexcept;

}  // namespace polycache
