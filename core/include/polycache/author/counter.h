// Definition of a counter, for every store: a decimal integer, `0` or `-?[1-9][0-9]*`, in signed 64
// bits. For authors of backends whose store cannot add by itself.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

// Parses stored bytes as a counter. Empty if they are not one ("007", "-0", "+1", " 1", "1.5", ""
// and anything beyond 64 bits are not).
POLYCACHE_API std::optional<std::int64_t> parse_counter(std::string_view bytes) noexcept;

// Returns the stored counter + delta. Throws ValueError if `bytes` are not a counter or the sum
// overflows; the caller (Cache) adds alias and key to the message.
POLYCACHE_API std::int64_t add_to_counter(std::string_view bytes, std::int64_t delta);

}  // namespace polycache
