// The command line of this program.

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
  std::vector<std::string> aliases = {};  // the stores to measure
  // All aliases were requested: one that does not work only loses its line of the table.
  bool all = false;
  std::filesystem::path database = {};
  std::string show = {};  // a package whose facts to print instead; empty: none
};

// Empty if help was requested; it is then written to `out`. Throws std::exception with a
// sentence that describes the problem.
std::optional<Arguments> read_arguments(int argc, const char* const* argv, std::ostream& out);

}  // namespace package_facts
