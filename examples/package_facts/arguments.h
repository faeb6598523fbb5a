// What the command line of this program says.

#pragma once

#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include <polycache/config.h>

namespace package_facts {

struct Arguments {
  polycache::Config config = {};
  std::vector<std::string> aliases = {};  // those to run over
  // All aliases were asked for: one that does not work costs its line of the table only.
  bool all = false;
  std::filesystem::path database = {};
  std::string show = {};  // a package whose facts to print instead; empty: none
};

// Empty if help was asked for, which is then on `out`. Throws std::exception with a
// sentence that says what is wrong.
std::optional<Arguments> read_arguments(int argc, const char* const* argv, std::ostream& out);

}  // namespace package_facts
