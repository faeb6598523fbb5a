// What an entry's row says about its own bytes, so that damage on disk is noticed: a number in
// the column "checksum", or NULL where nothing is known. Part of the file format.
//
//   upper 32 bits  CRC-32C of the key and the value
//   lower 32 bits  CRC-32C of `written` and `expires`, continued from the upper half: so both can
//                  change without a look at the value

#pragma once

#include <cstdint>
#include <string_view>

namespace polycache::sqlite {

// The CRC of the bytes that `crc` stands for with `bytes` behind them. By an instruction where the
// CPU has it (SSE 4.2), else by tables.
std::uint32_t crc32c(std::string_view bytes, std::uint32_t crc = 0) noexcept;
std::uint32_t crc32c_by_tables(std::string_view bytes, std::uint32_t crc = 0) noexcept;

// The upper half. Where the key ends makes a difference.
inline std::uint32_t checksum_of_contents(std::string_view key, std::string_view value) noexcept {
  return crc32c(value, crc32c(key, static_cast<std::uint32_t>(key.size())));
}

std::int64_t checksum_of_row(std::uint32_t contents, std::int64_t written,
                             std::int64_t expires) noexcept;

}  // namespace polycache::sqlite
