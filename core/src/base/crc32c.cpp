#include "polycache/author/crc32c.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#include "base/crc32c_tables.h"

namespace polycache {
namespace {

static_assert(std::endian::native == std::endian::little, "eight bytes are read as one word");

constexpr std::size_t word_bytes = 8;
using Tables = std::array<std::array<std::uint32_t, 256>, word_bytes>;

// tables[n][byte]: what a byte adds to the CRC if n more bytes follow it in its word.
constexpr Tables make_tables() noexcept {
  constexpr std::uint32_t reversed_polynomial = 0x82f63b78U;
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? reversed_polynomial : 0);
    }
    tables[0][byte] = crc;
  }
  for (std::size_t n = 1; n < word_bytes; ++n) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[n - 1][byte];
      tables[n][byte] = (before >> 8U) ^ tables[0][before & 0xffU];
    }
  }
  return tables;
}

constexpr Tables crc_tables = make_tables();

std::uint64_t word(const char* at) noexcept {
  std::uint64_t result = 0;
  std::memcpy(&result, at, word_bytes);
  return result;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t crc32c_by_instruction(std::string_view bytes,
                                                                      std::uint32_t crc) noexcept {
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t state = ~crc;
  for (; left >= word_bytes; left -= word_bytes, at += word_bytes)
    state = _mm_crc32_u64(state, word(at));
  auto last = static_cast<std::uint32_t>(state);
  for (; left > 0; --left, ++at) last = _mm_crc32_u8(last, static_cast<unsigned char>(*at));
  return ~last;
}
#endif

}  // namespace

std::uint32_t crc32c_by_tables(std::string_view bytes, std::uint32_t crc) noexcept {
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  crc = ~crc;
  for (; left >= word_bytes; left -= word_bytes, at += word_bytes) {
    const std::uint64_t mixed = word(at) ^ crc;
    crc = 0;
    for (std::size_t i = 0; i < word_bytes; ++i)
      crc ^= crc_tables[word_bytes - 1 - i][(mixed >> 8 * i) & 0xffU];
  }
  for (; left > 0; --left, ++at) {
    crc = (crc >> 8U) ^ crc_tables[0][(crc ^ static_cast<unsigned char>(*at)) & 0xffU];
  }
  return ~crc;
}

std::uint32_t crc32c(std::string_view bytes, std::uint32_t crc) noexcept {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return crc32c_by_instruction(bytes, crc);
#endif
  return crc32c_by_tables(bytes, crc);
}

}  // namespace polycache
