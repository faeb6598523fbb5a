// The checksum of an entry's row, which detects damage on disk: a number in the column "checksum",
// or NULL if nothing is known. Part of the file format.
//
//   upper 32 bits  CRC-32C of the key and the value
//   lower 32 bits  CRC-32C of `written` and `expires`, continued from the upper half, so that both
//                  can change without reading the value

#pragma once

#include <cstdint>
#include <string_view>

#include "polycache/author/crc32c.h"

namespace polycache::sqlite {

// The upper half. The position where the key ends affects the result.
inline std::uint32_t checksum_of_contents(std::string_view key, std::string_view value) noexcept {
  return crc32c(value, crc32c(key, static_cast<std::uint32_t>(key.size())));
}

std::int64_t checksum_of_row(std::uint32_t contents, std::int64_t written,
                             std::int64_t expires) noexcept;

}  // namespace polycache::sqlite
