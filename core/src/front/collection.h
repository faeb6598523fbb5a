// Caches within a cache: Cache::collection().

#pragma once

#include <memory>
#include <string_view>

#include "front/cache_state.h"

namespace polycache {

// The state of a collection of a cache with that state: the same shared part, other keys.
std::shared_ptr<CacheState> state_of_collection(const CacheState& state, std::string_view name);

}  // namespace polycache
