// Keys of any parts, prefixes and versions. The input's lines are: version, prefix, name of
// the key, its parts. Parts come out of the key again as they were (so no two lists of parts
// give the same one), a key of parts is portable where its name is, and the fast way to
// compose a final key does what the plain one does.

#include "polycache/key.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "front/key_policy.h"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (true) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

int digit(char c) { return c <= '9' ? c - '0' : c - 'A' + 10; }

std::string unescaped(std::string_view part) {
  std::string text;
  for (std::size_t i = 0; i < part.size(); ++i) {
    if (part[i] != '%') {
      text += part[i];
      continue;
    }
    require(part.size() - i > 2, "an escape is cut");
    text += static_cast<char>(digit(part[i + 1]) * 16 + digit(part[i + 2]));
    i += 2;
  }
  return text;
}

// From behind: the name may hold colons, parts may not.
void check_parts(const std::string& name, const std::vector<std::string>& parts) {
  std::string key = name;
  for (const std::string& part : parts) key = polycache::key(key, part);
  std::string_view rest = key;
  for (std::size_t i = parts.size(); i-- > 0;) {
    const std::size_t colon = rest.rfind(':');
    require(colon != std::string_view::npos, "a part is missing");
    require(unescaped(rest.substr(colon + 1)) == parts[i], "a part is another one");
    rest = rest.substr(0, colon);
  }
  require(rest == name, "the name is another one");
  require(polycache::check_key(name).bad_byte == polycache::check_key(key).bad_byte,
          "a part made the key unportable");
}

void check_policy(int version, const std::string& prefix, std::string_view key) {
  for (const int asked : {version, 1}) {
    std::string expected;
    polycache::default_key_function(expected, key, prefix, asked);
    const polycache::KeyPolicy policy(prefix, version, {}, true);
    polycache::FinalKey final_key;
    const polycache::KeyIssues issues = policy.compose(final_key, key, asked);
    require(final_key.view() == expected, "another final key");
    const polycache::KeyIssues plain = polycache::check_key(expected);
    require(issues.too_long == plain.too_long && issues.bad_byte == plain.bad_byte,
            "another verdict");
    require(asked != version || expected.starts_with(policy.head()), "another head");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::string> lines =
      lines_of(std::string_view(reinterpret_cast<const char*>(data), size));
  lines.resize(std::max<std::size_t>(lines.size(), 3));
  const int version = std::atoi(lines[0].c_str());
  check_parts(lines[2], {lines.begin() + 3, lines.end()});
  for (std::size_t i = 2; i < lines.size(); ++i) check_policy(version, lines[1], lines[i]);
  return 0;
}
