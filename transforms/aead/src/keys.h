// The keys of an alias, by id. Immutable and thread-safe.

#pragma once

#include <sodium.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/option_reader.h"

namespace polycache::aead {

inline constexpr std::size_t key_bytes = crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
inline constexpr std::size_t longest_id = 32;

// A word of 1 to 32 letters, digits, '-', '_' and '.'.
bool is_id(std::string_view text) noexcept;

// 32 bytes that are left out of core dumps, locked if possible, and overwritten by the destructor.
class SecretKey {
 public:
  // Decodes 64 hexadecimal digits. Empty if the text is anything else.
  static SecretKey from_hex(std::string_view hex);

  SecretKey() = default;
  explicit operator bool() const noexcept { return bytes_ != nullptr; }
  const unsigned char* data() const noexcept { return bytes_.get(); }

 private:
  struct Free {
    void operator()(unsigned char* bytes) const noexcept { sodium_free(bytes); }
  };
  std::unique_ptr<unsigned char, Free> bytes_;
};

struct Key {
  std::string id;
  SecretKey secret;
};

// Reads the option "keys". Problems are reported to `options` without showing a key; there may be
// no key then.
std::vector<Key> read_keys(const OptionReader& options);

}  // namespace polycache::aead
