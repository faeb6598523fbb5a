// A look at one entry, as most reads make it.

#pragma once

#include <string_view>

#include "front/operation.h"
#include "front/reading.h"
#include "front/tag_versions.h"
#include "polycache/author/function_ref.h"

namespace polycache {

// Reads the entry of an operation's key. `decode` sees its value before its tags are known to be
// current.
template <class Operation>
[[gnu::always_inline]] inline void find(Operation& operation, Reading& reading,
                                        FunctionRef<bool(std::string_view)> decode) {
  const CacheState& state = operation.state();
  const std::string_view id = operation.key();
  operation.read(false, [&](Backend& session) {
    const bool there = session.get(
        id, [&](std::string_view stored) { read_entry(state, id, reading, stored, decode); });
    if (reading.outcome == Outcome::tagged) [[unlikely]]
      check_tags(operation, session, reading);
    return there;
  });
}

}  // namespace polycache
