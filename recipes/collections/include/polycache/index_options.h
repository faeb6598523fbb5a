// What an index of a program can be told. index.h includes it.

#pragma once

#include <string>

#include "polycache/evicting_store.h"

namespace polycache {

class CacheRegistry;

struct IndexOptions {
  EvictingStore evicting_store = EvictingStore::refuse;
  std::string cache = "default";      // the alias
  CacheRegistry* registry = nullptr;  // [that of polycache::caches]
};

}  // namespace polycache
