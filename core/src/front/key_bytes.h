// Copies a key and checks each byte on the way, several at a time. Every operation does this.

#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace polycache {

// Whether memcached would refuse a key with this byte: a control character or a space.
constexpr bool is_bad_byte(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte <= 0x20 || byte == 0x7f;
}

// Whether any of sixteen bytes is bad.
inline bool has_bad_byte(std::uint64_t a, std::uint64_t b) noexcept {
#ifdef __SSE2__
  const __m128i bytes = _mm_set_epi64x(static_cast<long long>(b), static_cast<long long>(a));
  const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x20)), bytes);
  const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
  return _mm_movemask_epi8(_mm_or_si128(low, del)) != 0;
#else
  // A subtraction borrows into a byte's top bit exactly if that byte or one below it was too small:
  // that suffices to know whether any is.
  const auto each_byte = [](std::uint64_t byte) { return byte * 0x0101010101010101U; };
  const auto top_bits = [&](std::uint64_t word) {
    const std::uint64_t del = word ^ each_byte(0x7f);
    return ((word - each_byte(0x21)) & ~word) | ((del - each_byte(0x01)) & ~del);
  };
  return ((top_bits(a) | top_bits(b)) & each_byte(0x80)) != 0;
#endif
}

// Copies a Word from each end of `size` bytes, which may overlap, and returns them in `a` and `b`.
// REQUIRES: sizeof(Word) <= size
template <class Word>
void copy_ends(char* to, const char* from, std::size_t size, Word& a, Word& b) noexcept {
  std::memcpy(&a, from, sizeof a);
  std::memcpy(&b, from + size - sizeof b, sizeof b);
  std::memcpy(to, &a, sizeof a);
  std::memcpy(to + size - sizeof b, &b, sizeof b);
}

// Copies `size` bytes. Returns whether any of them is bad.
inline bool copy_key(char* to, const char* from, std::size_t size) noexcept {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  if (size > 16) {
    bool bad = false;
    std::size_t i = 0;
    for (; i + 16 < size; i += 16) {
      copy_ends(to + i, from + i, 16, a, b);
      bad |= has_bad_byte(a, b);
    }
    copy_ends(to + size - 16, from + size - 16, 16, a, b);
    return bad | has_bad_byte(a, b);
  }
  if (size >= 8) {
    copy_ends(to, from, size, a, b);
    return has_bad_byte(a, b);
  }
  if (size >= 4) {
    std::uint32_t c = 0;
    std::uint32_t d = 0;
    copy_ends(to, from, size, c, d);
    a = c | std::uint64_t{d} << 32U;
    return has_bad_byte(a, a);
  }
  bool bad = false;
  for (std::size_t i = 0; i < size; ++i) {
    to[i] = from[i];
    bad |= is_bad_byte(from[i]);
  }
  return bad;
}

// Whether two texts are equal, without a function call, so that the caller need not save registers.
inline bool equal_bytes(const char* x, const char* y, std::size_t size) noexcept {
  const auto differ = [x, y](auto word, std::size_t at) {
    auto a = word;
    auto b = word;
    std::memcpy(&a, x + at, sizeof a);
    std::memcpy(&b, y + at, sizeof b);
    return a != b;
  };
  if (size < 4) {
    for (std::size_t i = 0; i < size; ++i) {
      if (x[i] != y[i]) return false;
    }
    return true;
  }
  // The last word may overlap the one before it.
  if (size < 8) return !differ(std::uint32_t{}, 0) && !differ(std::uint32_t{}, size - 4);
  for (std::size_t at = 0; at + 8 < size; at += 8) {
    if (differ(std::uint64_t{}, at)) return false;
  }
  return !differ(std::uint64_t{}, size - 8);
}

}  // namespace polycache
