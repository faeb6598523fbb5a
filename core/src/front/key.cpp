#include "polycache/key.h"

#include "front/key_bytes.h"
#include "polycache/error.h"

namespace polycache {

void detail::throw_null_key() {
  throw InvalidKey("key: a null pointer; give a text such as \"user:42\"");
}

void detail::throw_null_value() {
  throw ValueError("value: a null pointer to text; store an empty text, or erase the key");
}

void detail::throw_null_text() {
  throw ConfigError("alias or configuration: a null pointer; give a text such as \"default\"");
}

KeyIssues check_key(std::string_view final_key) noexcept {
  KeyIssues issues{.too_long = final_key.size() > max_portable_key_bytes};
  for (const char c : final_key) issues.bad_byte |= is_bad_byte(c);
  return issues;
}

void detail::append_key_part(std::string& out, std::string_view part) {
  static constexpr char hex[] = "0123456789ABCDEF";
  out += ':';
  for (const char c : part) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_bad_byte(c) || c == ':' || c == '%') {
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
