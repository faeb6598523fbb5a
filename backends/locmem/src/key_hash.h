// The hash of keys, keyed by secrets drawn anew for each store, so that chosen keys cannot be made
// to collide.

#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace polycache::locmem {

class KeyHash {
 public:
  using Secrets = std::array<std::uint64_t, 4>;

  KeyHash();  // with fresh secrets
  explicit KeyHash(const Secrets& secrets) noexcept : secrets_(secrets) {}

  std::uint64_t operator()(std::string_view key) const noexcept;

 private:
  __extension__ using Wide = unsigned __int128;

  // Combines both halves of the product: every bit depends on every bit of both factors.
  static std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
  template <class Word>
  static std::uint64_t read(const char* from) noexcept {
    Word word;
    std::memcpy(&word, from, sizeof(word));
    return word;
  }

  Secrets secrets_;
};

// An attacker who chooses the key never knows a factor of a product: a known factor could be made
// zero, which would make all keys with it equal.
inline std::uint64_t KeyHash::operator()(std::string_view key) const noexcept {
  const char* at = key.data();
  std::size_t left = key.size();
  std::uint64_t hash = secrets_[0] ^ left;
  for (; left > 16; at += 16, left -= 16) {
    hash = fold(read<std::uint64_t>(at) ^ secrets_[1], read<std::uint64_t>(at + 8) ^ hash);
  }
  std::uint64_t head = 0;
  std::uint64_t tail = 0;
  if (left >= 8) {  // the two reads may overlap
    head = read<std::uint64_t>(at);
    tail = read<std::uint64_t>(at + left - 8);
  } else if (left >= 4) {
    head = read<std::uint32_t>(at);
    tail = read<std::uint32_t>(at + left - 4);
  } else if (left > 0) {
    head = read<std::uint8_t>(at) | read<std::uint8_t>(at + left / 2) << 8 |
           read<std::uint8_t>(at + left - 1) << 16;
  }
  hash = fold(head ^ secrets_[2], tail ^ hash);
  return fold(hash ^ secrets_[3], secrets_[1]);
}

}  // namespace polycache::locmem
