// A configuration from anywhere. What stands behind a line "%%" are assignments, one a line.
// Whatever the text: a ConfigError or a Config, no secret in a message, and an assignment
// that is refused changes nothing.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "polycache/config.h"
#include "polycache/error.h"

namespace {

constexpr std::string_view planted_secret = "planted-5ecret";

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

// Only the environment may hold it: a text that has it itself shows what it says.
void expect_no_secret(std::string_view input, const polycache::ConfigError& error) {
  const std::string_view message = error.what();
  require(!message.empty(), "an error without a message");
  require(input.find(planted_secret) != std::string_view::npos ||
              message.find(planted_secret) == std::string_view::npos,
          "a secret is in a message");
}

// A file of this machine may never end.
bool reads_files(std::string_view text) {
  return text.find("file:") != std::string_view::npos || text.find("\\u") != std::string_view::npos;
}

void apply(polycache::Config& config, std::string_view assignment, std::string_view input) {
  const std::size_t caches = config.caches.size();
  const std::size_t places = config.places.size();
  const std::size_t hidden = config.hidden.size();
  try {
    config.apply(assignment);
  } catch (const polycache::ConfigError& error) {
    expect_no_secret(input, error);
    require(config.caches.size() == caches && config.places.size() == places &&
                config.hidden.size() == hidden,
            "a refused assignment changed the configuration");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool planted = ::setenv("SECRET", std::string(planted_secret).c_str(), 1) == 0;
  require(planted, "setenv");
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (reads_files(input)) return 0;
  const std::size_t mark = input.find("\n%%\n");
  polycache::Config config;
  try {
    config = polycache::Config::from_json(input.substr(0, mark), "fuzzed");
    require(!config.caches.empty(), "a configuration without caches was accepted");
  } catch (const polycache::ConfigError& error) {
    expect_no_secret(input, error);
  }
  if (mark == std::string_view::npos) return 0;
  std::string_view assignments = input.substr(mark + 4);
  while (!assignments.empty()) {
    const std::size_t end = std::min(assignments.find('\n'), assignments.size());
    apply(config, assignments.substr(0, end), input);
    assignments.remove_prefix(std::min(end + 1, assignments.size()));
  }
  return 0;
}
