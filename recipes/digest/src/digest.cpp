#include "polycache/detail/digest.h"

#include <openssl/evp.h>

#include <array>
#include <string>
#include <string_view>

#include "polycache/error.h"

namespace polycache {

std::string detail::sha256(std::string_view text) {
  constexpr std::size_t bytes = 32;
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  if (EVP_Digest(text.data(), text.size(), hash.data(), nullptr, EVP_sha256(), nullptr) != 1) {
    throw CacheError(
        "libcrypto does not provide SHA-256, which keys need; enable it in OpenSSL's "
        "configuration");
  }
  constexpr std::string_view hex = "0123456789abcdef";
  std::string digits;
  digits.reserve(2 * bytes);
  for (std::size_t i = 0; i < bytes; ++i) digits += {hex[hash[i] >> 4U], hex[hash[i] & 0xfU]};
  return digits;
}

}  // namespace polycache
