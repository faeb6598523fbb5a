// ${NAME}, ${NAME:-default} and ${file:PATH} in the strings of a configuration, and the
// bounded reading of files that they and the configuration itself need.

#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace polycache {

struct Substituted {
  std::string text = {};
  bool changed = false;      // something was put in: not for messages
  std::string problem = {};  // not empty: what is wrong; never shows a value
};

// Puts in what every ${...} of `text` stands for. Relative paths start from `folder`.
Substituted substitute(std::string_view text, const std::filesystem::path& folder);

struct FileText {
  std::string text = {};
  std::string problem = {};  // not empty: why it could not be read
};

// Anything that can be read to its end, a pipe too, if that comes before `most` bytes.
FileText read_file(const std::filesystem::path& file, std::size_t most);

// Who else could change what is read there, and the remedy (write_access.h); empty if nobody
// can, or if that is allowed.
std::string writers_of(const std::filesystem::path& file);

}  // namespace polycache
