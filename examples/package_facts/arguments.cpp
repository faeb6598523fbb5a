#include "arguments.h"

#include <polycache/program_options.h>

#include <boost/program_options.hpp>
#include <ostream>
#include <stdexcept>

namespace package_facts {

namespace {

namespace po = boost::program_options;

constexpr const char* usage =
    R"(usage: package_facts [options] [ALIAS...]

For every installed package: all packages it needs, what they occupy, and who asks for it.
Computes this without a cache, then twice through get_or_set on each ALIAS (first on an
empty cache, then on a full one), compares the results, and prints how long each took.
Without ALIAS: "default".

)";

po::options_description make_options() {
  po::options_description options("options");
  auto add = options.add_options();
  add("all",
      "every alias of the configuration; those that do not work (a server that is not there) "
      "are named and left out");
  add("show", po::value<std::string>()->value_name("PACKAGE"),
      "print the facts of one package, through the first alias");
  add("database",
      po::value<std::string>()->value_name("FILE")->default_value("/var/lib/dpkg/status"),
      "package database to read");
  add("help", "this text");
  polycache::add_cache_options(options);
  return options;
}

po::variables_map parse(int argc, const char* const* argv, const po::options_description& shown) {
  po::options_description all;
  all.add(shown).add_options()("alias", po::value<std::vector<std::string>>());
  po::positional_options_description positions;
  positions.add("alias", -1);
  po::variables_map variables;
  po::store(po::command_line_parser(argc, argv).options(all).positional(positions).run(),
            variables);
  po::notify(variables);
  return variables;
}

std::vector<std::string> choose_aliases(const po::variables_map& variables,
                                        const polycache::Config& config) {
  std::vector<std::string> known;
  for (const auto& [alias, cache] : config.caches) known.push_back(alias);
  if (variables.contains("all")) return known;
  if (!variables.contains("alias")) return {"default"};
  return variables["alias"].as<std::vector<std::string>>();
}

// Checks all aliases before any work is done.
void check_aliases(const Arguments& arguments) {
  std::string known;
  for (const auto& [alias, cache] : arguments.config.caches)
    known += (known.empty() ? "" : ", ") + alias;
  for (const std::string& alias : arguments.aliases) {
    if (!arguments.config.caches.contains(alias)) {
      throw std::runtime_error("there is no alias \"" + alias +
                               "\" in the configuration; it has: " + known);
    }
  }
}

}  // namespace

std::optional<Arguments> read_arguments(int argc, const char* const* argv, std::ostream& out) {
  const po::options_description options = make_options();
  const po::variables_map variables = parse(argc, argv, options);
  if (variables.contains("help")) {
    out << usage << options;
    return std::nullopt;
  }
  Arguments arguments;
  arguments.config = polycache::cache_config(variables);
  arguments.all = variables.contains("all");
  arguments.aliases = choose_aliases(variables, arguments.config);
  arguments.database = variables["database"].as<std::string>();
  if (variables.contains("show")) arguments.show = variables["show"].as<std::string>();
  check_aliases(arguments);
  return arguments;
}

}  // namespace package_facts
