#include "key_hash.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace polycache::sqlite {
namespace {

static_assert(std::endian::native == std::endian::little, "keys are read as little-endian words");

// Odd, with as many ones as zeros, in no pattern.
constexpr std::uint64_t length_factor = 0xb5c3a1e94d27968dU;
constexpr std::uint64_t finish_factor = 0x6e91d83ca7f2540bU;

__extension__ using Product = unsigned __int128;

// Every bit of both factors affects the middle of their product; folding combines the two halves.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
  const Product product = static_cast<Product>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

std::uint64_t word(const char* at) noexcept {
  std::uint64_t result = 0;
  std::memcpy(&result, at, sizeof result);
  return result;
}

struct Tail {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
};

// The last `count` bytes, at most 16, padded with zeros. For keys that are long enough, reads whole
// words that end where the key does.
Tail last_bytes(std::string_view key, std::size_t count) noexcept {
  const char* const end = key.data() + key.size();
  if (count > 8) return {word(end - count), word(end - 8) >> (16 - count) * 8};
  if (count > 0 && key.size() >= 8) return {word(end - 8) >> (8 - count) * 8, 0};
  Tail tail;
  if (count > 0) std::memcpy(&tail.first, end - count, count);
  return tail;
}

}  // namespace

// The secret is in one factor of every product, and the state in the other, so that without the
// secret it is unknown which words cancel out.
std::uint64_t hash_key(std::string_view key, const HashSecret& secret) noexcept {
  const char* at = key.data();
  std::size_t left = key.size();
  std::uint64_t state = secret.first ^ (key.size() * length_factor);
  for (; left > 16; left -= 16, at += 16) {
    state = fold(word(at) ^ secret.second, word(at + 8) ^ state);
  }
  const Tail tail = last_bytes(key, left);
  state = fold(tail.first ^ secret.second, tail.second ^ state);
  return fold(state ^ secret.second, secret.first ^ finish_factor);
}

}  // namespace polycache::sqlite
