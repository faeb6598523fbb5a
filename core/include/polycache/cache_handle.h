// Whose cache a recipe works with: the alias of a registry, so that each thread uses its own cache,
// or one thread's Cache.

#pragma once

#include <string>
#include <utility>

#include "polycache/cache.h"
#include "polycache/registry.h"

namespace polycache {

// May be copied. With an alias it may be used by all threads at once; with a Cache, by that cache's
// thread. Must not be used after its registry, or the Cache, has ended.
class CacheHandle {
 public:
  // Does not look at the configuration. `registry`: null for that of polycache::caches.
  explicit CacheHandle(std::string alias, CacheRegistry* registry = nullptr)
      : alias_(std::move(alias)), registry_(registry) {}
  explicit CacheHandle(Cache& cache) : alias_(cache.alias()), cache_(&cache) {}

  const std::string& alias() const noexcept { return alias_; }

  // The cache of the calling thread. Throws ConfigError if there is no such alias.
  Cache& get() const {
    if (cache_ != nullptr) return *cache_;
    return registry_ != nullptr ? (*registry_)[alias_] : caches[alias_];
  }

 private:
  std::string alias_;
  CacheRegistry* registry_ = nullptr;
  Cache* cache_ = nullptr;
};

}  // namespace polycache
