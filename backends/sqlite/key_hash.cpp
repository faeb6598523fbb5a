#include "key_hash.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace polycache::sqlite {
namespace {

static_assert(std::endian::native == std::endian::little, "keys are read as little-endian words");

struct SipState {
  std::uint64_t a, b, c, d;

  void round() noexcept {
    a += b;
    b = std::rotl(b, 13) ^ a;
    a = std::rotl(a, 32);
    c += d;
    d = std::rotl(d, 16) ^ c;
    a += d;
    d = std::rotl(d, 21) ^ a;
    c += b;
    b = std::rotl(b, 17) ^ c;
    c = std::rotl(c, 32);
  }

  void absorb(std::uint64_t word) noexcept {
    d ^= word;
    round();
    a ^= word;
  }
};

}  // namespace

std::uint64_t hash_key(std::string_view key, const HashSecret& secret) noexcept {
  SipState state{secret.first ^ 0x736f6d6570736575U, secret.second ^ 0x646f72616e646f6dU,
                 secret.first ^ 0x6c7967656e657261U, secret.second ^ 0x7465646279746573U};
  const char* at = key.data();
  std::size_t left = key.size();
  for (; left >= sizeof(std::uint64_t); left -= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    state.absorb(word);
    at += sizeof word;
  }
  std::uint64_t tail = static_cast<std::uint64_t>(key.size()) << 56U;
  std::uint64_t rest = 0;
  if (left > 0) std::memcpy(&rest, at, left);
  state.absorb(tail | rest);
  state.c ^= 0xffU;
  for (int i = 0; i < 3; ++i) state.round();
  return state.a ^ state.b ^ state.c ^ state.d;
}

}  // namespace polycache::sqlite
