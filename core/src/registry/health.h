// Asking a store how it is.

#pragma once

#include "front/cache_state.h"
#include "polycache/registry.h"

namespace polycache {

// Throws nothing about the store.
CacheHealth check_health(CacheState& state);

}  // namespace polycache
