#include "polycache/key.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace polycache {
namespace {

constexpr std::uint64_t each_byte(std::uint64_t byte) { return byte * 0x0101010101010101U; }

// Whether any of the eight bytes is 0x00..0x20 or 0x7f. The subtraction borrows into a
// byte's top bit exactly if a byte below it, or itself, was too small: right for "any".
bool has_bad_byte(std::uint64_t bytes) {
  const std::uint64_t below = (bytes - each_byte(0x21)) & ~bytes;
  const std::uint64_t del = bytes ^ each_byte(0x7f);
  const std::uint64_t is_del = (del - each_byte(0x01)) & ~del;
  return ((below | is_del) & each_byte(0x80)) != 0;
}

}  // namespace

KeyIssues check_key(std::string_view final_key) noexcept {
  KeyIssues issues{.too_long = final_key.size() > max_portable_key_bytes};
  const char* const data = final_key.data();
  const std::size_t size = final_key.size();
  std::uint64_t word = 0;
  if (size >= sizeof word) {
    for (std::size_t i = 0; i + sizeof word <= size; i += sizeof word) {
      std::memcpy(&word, data + i, sizeof word);
      issues.bad_byte |= has_bad_byte(word);
    }
    std::memcpy(&word, data + size - sizeof word, sizeof word);
  } else {
    word = each_byte('x');
    if (size != 0) std::memcpy(&word, data, size);
  }
  issues.bad_byte |= has_bad_byte(word);
  return issues;
}

void detail::append_key_part(std::string& out, std::string_view part) {
  static constexpr char hex[] = "0123456789ABCDEF";
  out += ':';
  for (const char c : part) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7f || c == ':' || c == '%') {
      out += '%';
      out += hex[byte >> 4U];
      out += hex[byte & 0xFU];
    } else {
      out += c;
    }
  }
}

void default_key_function(std::string& out, std::string_view key, std::string_view prefix,
                          int version) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, version).ptr;
  out.append(prefix).append(1, ':').append(digits, end).append(1, ':').append(key);
}

}  // namespace polycache
