// Lets a program's user configure its caches on the command line, with Boost.Program_options:
//
//   shop --cache-config shop.json --cache default.timeout=60s --cache default.version=2
//
//   namespace po = boost::program_options;
//   po::options_description description("Options");
//   polycache::add_cache_options(description);
//   po::variables_map variables;
//   po::store(po::parse_command_line(argc, argv, description), variables);
//   po::notify(variables);
//   polycache::configure(polycache::cache_config(variables));
//
// Other users can see passwords on a command line; instead write
// --cache 'default.options.password=${REDIS_PASSWORD}', or ${file:PATH}.

#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <boost/program_options/variables_map.hpp>
#include <string>
#include <vector>

#include "polycache/config.h"

namespace polycache {

// Adds --cache-config FILE, and --cache ALIAS.MEMBER=VALUE, which can be repeated.
inline void add_cache_options(boost::program_options::options_description& description) {
  namespace po = boost::program_options;
  description.add_options()(
      "cache-config", po::value<std::string>()->value_name("FILE"),
      "configuration file of the caches; default: the file that POLYCACHE_CONFIG names")(
      "cache", po::value<std::vector<std::string>>()->composing()->value_name("ALIAS.MEMBER=VALUE"),
      "changes one member of one cache, such as default.timeout=60s; can be repeated");
}

// The configuration from these options: the file's content, or Config::from_environment() without
// one, followed by each assignment in its order. Throws ConfigError.
inline Config cache_config(const boost::program_options::variables_map& variables) {
  const auto& file = variables["cache-config"];
  Config config =
      file.empty() ? Config::from_environment() : Config::from_file(file.as<std::string>());
  const auto& assignments = variables["cache"];
  if (assignments.empty()) return config;
  for (const std::string& assignment : assignments.as<std::vector<std::string>>()) {
    config.apply(assignment, "--cache");
  }
  return config;
}

}  // namespace polycache
