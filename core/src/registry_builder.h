// From a Config to the states of its aliases: plugins found, options read, factories and
// layers made. All problems are collected before anything is said.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "cache_state.h"
#include "polycache/config.h"
#include "polycache/registry.h"

namespace polycache {

struct BuiltAlias {
  std::shared_ptr<CacheState> state;  // null with defer_errors, where the alias is wrong
  std::string error;
  CacheInfo info;
};

using BuiltAliases = std::map<std::string, BuiltAlias, std::less<>>;

// Throws ConfigError with all problems, or PluginError if there is one and it is one.
BuiltAliases build_aliases(const Config& config, const Environment& environment);

}  // namespace polycache
