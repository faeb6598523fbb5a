// The key function "hashed": final keys that every store accepts, whatever the length and content
// of the user's key.
//
// If memcached would accept the plain final key, "prefix:version:key", it stays plain and readable.
// Otherwise it becomes "prefix:version:#" and the first 32 hex digits of the SHA-256 of the key. A
// key that looks like such a result is hashed too, so that it cannot collide with another key's
// hash. A prefix that no store would accept is not corrected.

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <string>
#include <string_view>

#include "polycache/author/plugin.h"
#include "polycache/error.h"

namespace polycache::hashed {
namespace {

constexpr std::size_t longest_key = 250;  // memcached's limit, in bytes
constexpr char hash_mark = '#';
constexpr std::size_t hash_digits = 32;

bool is_portable(std::string_view final_key) {
  return final_key.size() <= longest_key &&
         std::all_of(final_key.begin(), final_key.end(),
                     [](unsigned char c) { return c > 0x20 && c != 0x7f; });
}

bool looks_hashed(std::string_view key) {
  return key.size() == 1 + hash_digits && key.front() == hash_mark &&
         key.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
}

// Fetched once: OpenSSL takes locks for that, which another thread's fork could copy locked.
const EVP_MD* sha256() {
#if OPENSSL_VERSION_MAJOR >= 3
  static const EVP_MD* const digest = EVP_MD_fetch(nullptr, "SHA256", nullptr);  // never freed
  return digest;
#else
  return EVP_sha256();
#endif
}

void append_hash(std::string& out, std::string_view key) {
  // Otherwise OpenSSL would clean up at process exit, while other threads may still hash.
  static const int ready = OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  const EVP_MD* const kind = ready == 1 ? sha256() : nullptr;
  if (kind == nullptr ||
      EVP_Digest(key.data(), key.size(), digest.data(), nullptr, kind, nullptr) != 1) {
    throw CacheError("the key function \"hashed\" cannot hash: libcrypto does not provide SHA-256");
  }
  constexpr std::string_view hex = "0123456789abcdef";
  out += hash_mark;
  for (std::size_t i = 0; i < hash_digits / 2; ++i) {
    out += hex[digest[i] >> 4U];
    out += hex[digest[i] & 0xfU];
  }
}

void append_final_key(std::string& out, std::string_view key, std::string_view prefix,
                      int version) {
  const std::size_t begin = out.size();
  std::array<char, std::numeric_limits<int>::digits10 + 2> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), version).ptr;
  out.append(prefix).append(1, ':').append(digits.data(), end).append(1, ':');
  const std::size_t head = out.size();
  out.append(key);
  if (is_portable(std::string_view(out).substr(begin)) && !looks_hashed(key)) return;
  out.resize(head);
  append_hash(out, key);
}

constexpr PluginDescriptor plugin =
    key_function_plugin("hashed", POLYCACHE_VERSION, append_final_key, keeps_head);

}  // namespace
}  // namespace polycache::hashed

POLYCACHE_PLUGIN(polycache::hashed::plugin);
