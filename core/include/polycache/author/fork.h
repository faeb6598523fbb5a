// What a session must know about fork(): a connection of the parent is not the child's.
//
// A session remembers fork_count() when it connects and compares it before it uses the
// connection. If it differs, this is a child: close the descriptor, make no call into the
// client library (memcached_free, for one, says goodbye to the parent's server), connect
// anew.

#pragma once

#include <cstdint>

#include "polycache/detail/export.h"

namespace polycache {

// How many forks lie between the process that loaded this library and the calling one.
// Thread-safe; one load.
[[gnu::hot]] POLYCACHE_API std::uint32_t fork_count() noexcept;

}  // namespace polycache
