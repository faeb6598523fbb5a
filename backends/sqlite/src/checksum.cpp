#include "checksum.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

namespace polycache::sqlite {

static_assert(std::endian::native == std::endian::little, "times are read as they lie in memory");

std::int64_t checksum_of_row(std::uint32_t contents, std::int64_t written,
                             std::int64_t expires) noexcept {
  constexpr std::size_t time_bytes = sizeof(std::int64_t);
  std::array<char, 2 * time_bytes> bytes{};
  std::memcpy(bytes.data(), &written, time_bytes);
  std::memcpy(bytes.data() + time_bytes, &expires, time_bytes);
  const std::uint32_t times = crc32c({bytes.data(), bytes.size()}, contents);
  return static_cast<std::int64_t>((std::uint64_t{contents} << 32U) | times);
}

}  // namespace polycache::sqlite
