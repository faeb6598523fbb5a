// What describe() shows of an alias's configuration.

#pragma once

#include <string>

#include "polycache/cache_info.h"
#include "polycache/config.h"

namespace polycache {

// Copies the configuration of the alias at `path` ("caches.default"), without anything that may be
// secret.
void describe(const Config& config, const std::string& path, const CacheConfig& cache,
              CacheInfo& info);

}  // namespace polycache
