// Builds the states of the aliases of a Config: walks over the aliases, makes their factories,
// layers and transforms, and resolves what they need of each other. All problems are collected
// before any is reported.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "front/cache_state.h"
#include "polycache/config.h"
#include "polycache/registry.h"
#include "registry/agreements.h"

namespace polycache {

struct BuiltAlias {
  std::shared_ptr<CacheState> state;  // null with defer_errors, if the alias is invalid
  std::string error;
  bool plugin_error = false;  // all problems concern plugins
  CacheInfo info;
  std::shared_ptr<const Configuration> configuration;  // in force while this exists

  // REQUIRES: !state
  [[noreturn]] void throw_error() const;
};

using BuiltAliases = std::map<std::string, BuiltAlias, std::less<>>;

// For the registry of that number, whose executor the aliases refer to weakly. Throws ConfigError
// with all problems, or PluginError if all of them concern plugins.
BuiltAliases build_aliases(const Config& config, const Environment& environment,
                           std::uint64_t registry, const std::shared_ptr<Executor>& executor);

}  // namespace polycache
