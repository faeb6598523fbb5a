#include "polycache/memoize.h"

#include <cstddef>
#include <string>
#include <string_view>

#include "polycache/detail/digest.h"

namespace polycache {

std::string detail::memo::digest(std::string_view text) {
  constexpr std::size_t digits = 32;
  std::string hash = sha256(text);
  hash.resize(digits);
  return hash;
}

}  // namespace polycache
