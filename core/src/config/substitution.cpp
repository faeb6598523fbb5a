#include "config/substitution.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <system_error>

#include "base/write_access.h"
#include "polycache/author/descriptor.h"
#include "polycache/author/text.h"

namespace polycache {
namespace {

constexpr std::size_t most_of_secret_file = 65536;

bool is_variable_name(std::string_view name) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && letter(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

void trim_newline(std::string& text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
}

// As in the shell, a default also replaces a variable that is set but empty.
Substituted from_variable(std::string_view name, bool has_default, std::string_view fallback) {
  const std::string variable(name);
  const char* const value = std::getenv(variable.c_str());
  if (has_default && (value == nullptr || *value == '\0')) return {.text = std::string(fallback)};
  if (value == nullptr) {
    return {.problem = "the environment variable " + variable +
                       " is not set; set it, or write a default: ${" + variable + ":-...}"};
  }
  return {.text = value};
}

Substituted from_file(std::string_view path, const std::filesystem::path& folder) {
  FileText file = read_file(folder / path, most_of_secret_file);
  if (!file.problem.empty()) {
    return {.problem = "the file " + quote_path(path) + " of a ${file:...} " + file.problem};
  }
  if (std::string problem = writers_of(folder / path); !problem.empty()) {
    return {.problem = "the file " + quote_path(path) + " of a ${file:...} " + problem};
  }
  trim_newline(file.text);
  return {.text = std::move(file.text)};
}

// `inside` is the text between the braces.
Substituted resolve(std::string_view inside, const std::filesystem::path& folder) {
  constexpr std::string_view file = "file:";
  if (inside.starts_with(file) && inside.size() > file.size()) {
    return from_file(inside.substr(file.size()), folder);
  }
  const std::size_t mark = inside.find(":-");
  const bool has_default = mark != std::string_view::npos;
  const std::string_view name = inside.substr(0, mark);
  const std::string_view fallback = has_default ? inside.substr(mark + 2) : "";
  if (!is_variable_name(name) || fallback.find("${") != std::string_view::npos) {
    return {.problem =
                "contains a ${...} other than ${NAME}, ${NAME:-default} and ${file:PATH}; write a "
                "plain \"${\" as $${"};
  }
  return from_variable(name, has_default, fallback);
}

}  // namespace

Substituted substitute(std::string_view text, const std::filesystem::path& folder) {
  Substituted result;
  while (true) {
    const std::size_t at = text.find("${");
    if (at == std::string_view::npos) break;
    if (at > 0 && text[at - 1] == '$') {
      result.text.append(text.substr(0, at - 1)).append("${");
      text.remove_prefix(at + 2);
      continue;
    }
    const std::size_t end = text.find('}', at);
    if (end == std::string_view::npos) {
      return {.problem = "contains a \"${\" without \"}\"; write a plain \"${\" as $${"};
    }
    Substituted part = resolve(text.substr(at + 2, end - at - 2), folder);
    if (!part.problem.empty()) return part;
    result.text.append(text.substr(0, at)).append(part.text);
    result.changed = true;
    text.remove_prefix(end + 1);
  }
  result.text.append(text);
  return result;
}

std::string writers_of(const std::filesystem::path& file) {
  if (writable_files_allowed()) return {};
  std::string problem = writable_by_others(file);
  if (problem.empty()) return {};
  return problem + " (to read it anyway, set POLYCACHE_ALLOW_WRITABLE_FILES=1 in the environment)";
}

FileText read_file(const std::filesystem::path& file, std::size_t most) {
  const auto cannot = [](int error) {
    return FileText{.problem = "cannot be read: " + std::generic_category().message(error)};
  };
  const auto close = [](std::FILE* stream) { std::fclose(stream); };
  const int descriptor = off_standard_streams(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  const std::unique_ptr<std::FILE, decltype(close)> stream(
      descriptor < 0 ? nullptr : ::fdopen(descriptor, "rb"), close);
  if (!stream) {
    const int error = errno;
    if (descriptor >= 0) ::close(descriptor);
    return cannot(error);
  }
  FileText result;
  std::array<char, 16384> buffer;
  while (true) {
    const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), stream.get());
    result.text.append(buffer.data(), count);
    if (result.text.size() > most) {
      return {.problem = "is larger than " + std::to_string(most / 1024) + " KiB"};
    }
    if (count < buffer.size()) break;
  }
  if (std::ferror(stream.get()) != 0) return cannot(errno);
  return result;
}

}  // namespace polycache
