// What this program finds out about an installed package, each time by walking through the
// database: the work that is worth caching.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "package_database.h"

namespace package_facts {

struct Facts {
  std::vector<std::string> needs;      // all packages it needs, directly or not; sorted
  std::vector<std::string> needed_by;  // those that ask for it themselves; sorted
  std::vector<std::string> missing;    // what it, or one it needs, asks for in vain; sorted
  std::uint64_t kibibytes = 0;         // on the disk: itself and all it needs

  friend bool operator==(const Facts&, const Facts&) = default;
};

// Follows every dependency for `needs`, and asks every package for `needed_by`.
Facts find_facts(const PackageDatabase& database, const Package& package);

}  // namespace package_facts
