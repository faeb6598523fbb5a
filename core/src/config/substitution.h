// ${NAME}, ${NAME:-default} and ${file:PATH} in the strings of a configuration, and reading files
// with a size limit, for these and for the configuration itself.

#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace polycache {

struct Substituted {
  std::string text = {};
  bool changed = false;      // something was substituted: hide the text in messages
  std::string problem = {};  // not empty: what is wrong; never shows a value
};

// Replaces every ${...} in `text`. Relative paths start from `folder`.
Substituted substitute(std::string_view text, const std::filesystem::path& folder);

struct FileText {
  std::string text = {};
  std::string problem = {};  // not empty: why it could not be read
};

// Reads any file, or a pipe, that ends before `most` bytes.
FileText read_file(const std::filesystem::path& file, std::size_t most);

// Which other users can change the file, and the remedy (write_access.h); empty if none can, or if
// that is allowed.
std::string writers_of(const std::filesystem::path& file);

}  // namespace polycache
