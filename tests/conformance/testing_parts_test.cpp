// The store and the layers that tests use pass what stores have to pass: the layers hide nothing.

#include "polycache/testing/backend_conformance.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/memory_store.h"
#include "polycache/testing/recording_layer.h"

namespace polycache::testing {
namespace {

std::vector<ConformanceCase> cases() {
  StoreUnderTest store{.name = "Alone",
                       .backend = "memory",
                       .linked_plugins = {&memory_store, &recording_layer, &chaos_layer},
                       .quirks = {.lateness = std::chrono::milliseconds(0),
                                  .shared_between_processes = false,
                                  .has_tag_stamps = true,
                                  .has_limits = true}};
  std::vector<ConformanceCase> all = conformance_cases(store);
  // These layers see every call.
  store.quirks.has_tag_stamps = false;
  store.name = "Recorded";
  store.layers = {{.name = "recording"}};
  for (const ConformanceCase& c : conformance_cases(store)) all.push_back(c);
  store.name = "Chaos";
  store.layers = {{.name = "chaos", .options = {{"fail", 0.0}}}};
  for (const ConformanceCase& c : conformance_cases(store)) all.push_back(c);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Memory, BackendConformance, ::testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace polycache::testing
