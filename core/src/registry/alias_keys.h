// How an alias of the configuration makes its keys.

#pragma once

#include <memory>
#include <string>

#include "front/key_policy.h"
#include "polycache/config.h"
#include "registry/alias_problems.h"
#include "registry/plugin_search.h"

namespace polycache {

// Finds the key function of the alias at `path` ("caches.default"): one registered by name, one of
// a library ("path/libmy_keys.so:my_function"), or a plugin. Null if there is a problem, which is
// noted.
std::shared_ptr<KeyPolicy> make_key_policy(const std::string& path, const CacheConfig& cache,
                                           const PluginSearch& search, AliasProblems& problems);

}  // namespace polycache
