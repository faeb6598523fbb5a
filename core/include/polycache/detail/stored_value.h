// Between the values of recipes and the bytes that an extension of a store keeps for them: the
// alias's transforms (compression, encryption) change them as they change entries.

#pragma once

#include <string>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

class CacheState;  // Cache::state()

namespace detail {

// The bytes to store under a final key: the value itself, or a frame around what the transforms
// make of it, in `scratch`. The result is valid while both are unchanged. Throws what a transform
// throws.
POLYCACHE_API std::string_view stored_from_value(const CacheState& state,
                                                 std::string_view final_key, std::string_view value,
                                                 std::string& scratch);

// The reverse. Throws ValueError if the bytes are damaged, if a transform refuses them, or if they
// lack one that the alias demands.
POLYCACHE_API std::string_view value_from_stored(const CacheState& state,
                                                 std::string_view final_key,
                                                 std::string_view stored, std::string& scratch);

}  // namespace detail
}  // namespace polycache
