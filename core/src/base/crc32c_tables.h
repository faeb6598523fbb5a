// CRC-32C for CPUs without an instruction for it; tests compare both.

#pragma once

#include <cstdint>
#include <string_view>

namespace polycache {

std::uint32_t crc32c_by_tables(std::string_view bytes, std::uint32_t crc = 0) noexcept;

}  // namespace polycache
