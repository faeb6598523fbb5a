// What the aliases of all registries of the process say about things that they share
// (BackendContext::agree).

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/backend.h"

namespace polycache {

// One configuration of a registry. Lives while it is the one in force, or being made.
struct Configuration {
  std::uint64_t registry;
  std::string name;  // "the registry of \"caches.json\""
};

// Another alias that says something else.
struct Disagreement {
  std::string option;
  std::string here;   // the value of the one that asks
  std::string there;  // the other's
  std::string alias;
  std::string registry;  // the other's name; empty if it is of the same configuration
};

// Notes what an alias says about the thing `id` for as long as `configuration` lives; or, where
// it differs from what was noted, notes nothing and returns the differences. An older configuration
// of the same registry does not count: this one will replace it. Thread-safe.
std::vector<Disagreement> note_agreement(const std::shared_ptr<const Configuration>& configuration,
                                         std::string_view alias, std::string_view id,
                                         std::span<const SharedOption> options);

}  // namespace polycache
