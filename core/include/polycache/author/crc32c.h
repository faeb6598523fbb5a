// CRC-32C (Castagnoli), the checksum that CPUs compute: detects damage in stored bytes. It is no
// protection against bytes that an attacker chooses.

#pragma once

#include <cstdint>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

// The CRC of the bytes that `crc` covers, followed by `bytes`. Thread-safe; never fails. Uses the
// CPU's instruction if it has one (SSE 4.2), else tables.
POLYCACHE_API std::uint32_t crc32c(std::string_view bytes, std::uint32_t crc = 0) noexcept;

}  // namespace polycache
