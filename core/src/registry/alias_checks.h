// Checks an alias against the store that was made for it.

#pragma once

#include <string>

#include "front/key_policy.h"
#include "polycache/author/backend.h"
#include "polycache/config.h"
#include "registry/alias_problems.h"

namespace polycache {

// Whether the store allows the prefix in its keys, and the prefix leaves room for a key. `keys` may
// be null. Problems are noted; so for the next one.
void check_key_prefix(const std::string& path, const CacheConfig& cache, const KeyPolicy* keys,
                      const BackendFactory& factory, AliasProblems& problems);

// Whether "clear": "prefix" is possible. Opens a session.
void check_clear(const std::string& path, const KeyPolicy* keys, BackendFactory& factory,
                 AliasProblems& problems);

// Whether "load": {"lease"} is possible. Opens a session if it is given.
void check_lease(const std::string& path, const CacheConfig& cache, BackendFactory& factory,
                 AliasProblems& problems);

}  // namespace polycache
