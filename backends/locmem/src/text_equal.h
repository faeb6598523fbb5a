// Whether two texts of equal length are equal: a few inline instructions instead of a call, for
// texts of the length of keys.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace polycache::locmem {

inline bool equal_texts(const char* a, const char* b, std::size_t size) noexcept {
  const auto differ = [a, b](auto word, std::size_t at) {
    auto x = word;
    auto y = word;
    std::memcpy(&x, a + at, sizeof x);
    std::memcpy(&y, b + at, sizeof y);
    return static_cast<std::uint64_t>(x ^ y);
  };
  constexpr std::uint64_t eight_bytes{};
  constexpr std::uint32_t four_bytes{};
  // Words from both ends, which may overlap.
  if (size > 32) return std::memcmp(a, b, size) == 0;
  if (size > 16) {
    return (differ(eight_bytes, 0) | differ(eight_bytes, 8) | differ(eight_bytes, size - 16) |
            differ(eight_bytes, size - 8)) == 0;
  }
  if (size >= 8) return (differ(eight_bytes, 0) | differ(eight_bytes, size - 8)) == 0;
  if (size >= 4) return (differ(four_bytes, 0) | differ(four_bytes, size - 4)) == 0;
  return size == 0 || std::memcmp(a, b, size) == 0;
}

}  // namespace polycache::locmem
