#include "polycache/author/random_id.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>
#include <system_error>

namespace polycache {

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = getrandom(bytes.data() + filled, bytes.size() - filled, 0);
    if (got > 0) filled += static_cast<std::size_t>(got);
    if (got < 0 && errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "polycache: no random numbers");
    }
  }
  constexpr std::string_view hex = "0123456789abcdef";
  std::string id;
  for (const unsigned char byte : bytes) id += {hex[byte >> 4U], hex[byte & 0xfU]};
  return id;
}

}  // namespace polycache
