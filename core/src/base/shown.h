// Which unrecognised texts messages may show: a text in the place of a word or a name may be a
// connection string with a password, or a part of one.

#pragma once

#include <algorithm>
#include <string_view>

namespace polycache {

inline bool is_plain_character(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._+-").find(c) != std::string_view::npos;
}

// A word or a number, or a few short ones: "5 minutes", "s3-fifo". Not a connection string, not a
// key in base64.
inline bool is_word_like(std::string_view text) noexcept {
  const std::size_t most = text.find(' ') == std::string_view::npos ? 32 : 16;
  return text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
           return is_plain_character(c) || c == ' ';
         });
}

// A plugin's name, a path that begins like one, or "path/libmy_keys.so:function". Not a URL, and
// nothing with an assignment.
inline bool is_plugin_like(std::string_view text) noexcept {
  const auto npos = std::string_view::npos;
  if (text.find("//") != npos || text.find_first_of("?=;,&|<>{}\"'\n\t") != npos) return false;
  const std::size_t at = text.rfind('@');
  if (at != npos && text.find(':') < at) return false;
  const bool is_rooted = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
  return is_rooted || std::all_of(text.begin(), text.end(), [&](char c) {
           return is_plain_character(c) || c == '/' ||
                  (c == ':' && text.find('/') < text.find(':'));
         });
}

}  // namespace polycache
