#include "key_hash.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace polycache::sqlite {
namespace {

static_assert(std::endian::native == std::endian::little, "keys are read as little-endian words");

// Odd, with as many ones as zeros in no pattern.
constexpr std::uint64_t kLength = 0xb5c3a1e94d27968dU;
constexpr std::uint64_t kFinish = 0x6e91d83ca7f2540bU;

__extension__ using Product = unsigned __int128;

// Every bit of both factors has a say in the middle of their product; folding brings the two
// halves together.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
  const Product product = static_cast<Product>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

std::uint64_t word(const char* at) noexcept {
  std::uint64_t result = 0;
  std::memcpy(&result, at, sizeof result);
  return result;
}

}  // namespace

// The secret is in one factor of every product, and the state in the other, so that whoever
// does not know it cannot tell which words cancel out.
std::uint64_t hash_key(std::string_view key, const HashSecret& secret) noexcept {
  const char* at = key.data();
  std::size_t left = key.size();
  std::uint64_t state = secret.first ^ (key.size() * kLength);
  for (; left > 16; left -= 16, at += 16) {
    state = fold(word(at) ^ secret.second, word(at + 8) ^ state);
  }
  char tail[16] = {};
  if (left > 0) std::memcpy(tail, at, left);
  state = fold(word(tail) ^ secret.second, word(tail + 8) ^ state);
  return fold(state ^ secret.second, secret.first ^ kFinish);
}

}  // namespace polycache::sqlite
