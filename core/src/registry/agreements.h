// The values that aliases of all registries of the process declare for things that they share
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

// One configuration of a registry. Exists while it is in force or being built.
struct Configuration {
  std::uint64_t registry;
  std::string name;  // "the registry of \"caches.json\""
};

// Another alias with a different value.
struct Disagreement {
  std::string option;
  std::string here;   // the value of the alias that asks
  std::string there;  // the other alias's value
  std::string alias;
  std::string registry;  // the other's name; empty if it is of the same configuration
};

// Records an alias's values for the thing `id` for the lifetime of `configuration`. If they differ
// from recorded ones, records nothing and returns the differences. An older configuration of the
// same registry does not count, since this one will replace it. Thread-safe.
std::vector<Disagreement> note_agreement(const std::shared_ptr<const Configuration>& configuration,
                                         std::string_view alias, std::string_view id,
                                         std::span<const SharedOption> options);

}  // namespace polycache
