// From a Config to the states of its aliases: plugins found, options read, factories and
// layers made. All problems are collected before anything is said.

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
  std::shared_ptr<CacheState> state;  // null with defer_errors, where the alias is wrong
  std::string error;
  bool plugin_error = false;  // all that is wrong is about plugins
  CacheInfo info;
  std::shared_ptr<const Configuration> configuration;  // in force while this lives

  // REQUIRES: !state
  [[noreturn]] void throw_error() const;
};

using BuiltAliases = std::map<std::string, BuiltAlias, std::less<>>;

// For the registry of that number. Throws ConfigError with all problems, or PluginError if all
// of them are about plugins.
BuiltAliases build_aliases(const Config& config, const Environment& environment,
                           std::uint64_t registry);

}  // namespace polycache
