// Checks the health of a store.

#pragma once

#include "front/cache_state.h"
#include "polycache/registry.h"

namespace polycache {

// Reports failures of the store in the result; does not throw them.
CacheHealth check_health(CacheState& state);

}  // namespace polycache
