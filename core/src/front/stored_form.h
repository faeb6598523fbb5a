// Between the bytes of a value and those that are stored.

#pragma once

#include <string>
#include <string_view>

#include "front/cache_state.h"
#include "front/entry.h"

namespace polycache {

// The same for a value that a transform may change, or that would look like a frame.
std::string_view changed_form(const CacheState& state, std::string_view final_key,
                              std::string_view value, std::string& framed);

// The bytes to store: the value itself, or a frame around it, in `framed`. Throws what a transform
// throws.
inline std::string_view stored_form(const CacheState& state, std::string_view final_key,
                                    std::string_view value, std::string& framed) {
  if (!is_framed(value) && state.transforms().empty()) [[likely]]
    return value;
  return changed_form(state, final_key, value, framed);
}

// The bytes of a live entry that moves to another key: a transform may have bound them to the old
// one. Throws ValueError if a transform refuses them.
std::string moved_form(const CacheState& state, std::string_view from, std::string_view to,
                       std::string stored);

}  // namespace polycache
