#include <openssl/evp.h>

#include <array>
#include <string>
#include <string_view>

#include "polycache/error.h"
#include "polycache/memoize.h"

namespace polycache {

std::string detail::memo::digest(std::string_view text) {
  constexpr std::size_t bytes = 16;
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  if (EVP_Digest(text.data(), text.size(), hash.data(), nullptr, EVP_sha256(), nullptr) != 1) {
    throw CacheError("memoize: libcrypto does not provide SHA-256, which long keys need");
  }
  constexpr std::string_view hex = "0123456789abcdef";
  std::string digits;
  for (std::size_t i = 0; i < bytes; ++i) digits += {hex[hash[i] >> 4U], hex[hash[i] & 0xfU]};
  return digits;
}

}  // namespace polycache
