// What the collections of a program can be told. deque.h includes it.

#pragma once

#include <string>

#include "polycache/evicting_store.h"

namespace polycache {

class CacheRegistry;

struct CollectionOptions {
  EvictingStore evicting_store = EvictingStore::refuse;
  // A name of the values' type, for programs of different compilers, which may name a type in
  // different ways [the compiler's name; strings, bytes and numbers have one for all compilers]
  std::string type = {};
  std::string cache = "default";      // the alias
  CacheRegistry* registry = nullptr;  // [that of polycache::caches]
};

}  // namespace polycache
