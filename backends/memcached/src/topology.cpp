#include "topology.h"

#include <algorithm>

namespace polycache::memcached {

bool Topology::admits_all() const noexcept {
  return std::all_of(servers_.begin(), servers_.end(),
                     [](const auto& server) { return server->admits_all(); });
}

}  // namespace polycache::memcached
