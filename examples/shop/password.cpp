#include "password.h"

#include <crypt.h>

#include <array>
#include <memory>
#include <stdexcept>

std::string hash_of(const std::string& password) {
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> salt{};
  const auto scratch = std::make_unique<crypt_data>();
  if (crypt_gensalt_rn("$y$", 0, nullptr, 0, salt.data(), static_cast<int>(salt.size())) ==
      nullptr) {
    throw std::runtime_error("crypt() has no yescrypt");
  }
  const char* const hash = crypt_r(password.c_str(), salt.data(), scratch.get());
  if (hash == nullptr || *hash == '*') throw std::runtime_error("crypt() does not work");
  return hash;
}

bool is_password(const std::string& password, const std::string& hash) {
  const auto scratch = std::make_unique<crypt_data>();  // 32 KiB: too much for a stack
  const char* const made = crypt_r(password.c_str(), hash.c_str(), scratch.get());
  return made != nullptr && hash == made;  // what crypt() cannot read becomes "*0" or "*1"
}
