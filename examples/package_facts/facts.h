// The facts about an installed package. Each computation walks through the whole database, so it
// is worth caching.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "package_database.h"

namespace package_facts {

struct Facts {
  std::vector<std::string> needs;      // all packages it needs, directly or not; sorted
  std::vector<std::string> needed_by;  // packages that depend on it directly; sorted
  std::vector<std::string> missing;    // unmet dependencies of it and of all it needs; sorted
  std::uint64_t kibibytes = 0;         // on the disk: itself and all it needs

  friend bool operator==(const Facts&, const Facts&) = default;
};

// Follows every dependency for `needs`, and checks every package for `needed_by`.
Facts find_facts(const PackageDatabase& database, const Package& package);

}  // namespace package_facts
