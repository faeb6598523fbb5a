// A store twice: linked into the test program, and loaded as a plugin.

#pragma once

#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/testing/backend_conformance.h"

namespace polycache::testing {

inline std::vector<ConformanceCase> linked_and_loaded(StoreUnderTest store,
                                                      const PluginDescriptor& descriptor) {
  StoreUnderTest linked = store;
  linked.name = "Linked";
  linked.linked_plugins = {&descriptor};
  store.name = "Loaded";
  store.plugin_path = {POLYCACHE_PLUGIN_FOLDER};
  std::vector<ConformanceCase> cases = conformance_cases(linked);
  for (const ConformanceCase& c : conformance_cases(store)) cases.push_back(c);
  return cases;
}

}  // namespace polycache::testing
