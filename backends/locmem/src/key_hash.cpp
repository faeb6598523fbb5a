#include "key_hash.h"

#include <random>

namespace polycache::locmem {
namespace {

KeyHash::Secrets draw() {
  std::random_device device;
  KeyHash::Secrets secrets;
  for (auto& secret : secrets) {
    // Odd, so never zero.
    secret = (static_cast<std::uint64_t>(device()) << 32 | device()) | 1;
  }
  return secrets;
}

}  // namespace

KeyHash::KeyHash() : secrets_(draw()) {}

}  // namespace polycache::locmem
