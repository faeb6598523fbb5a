// What a session must know about fork(): a connection of the parent does not belong to the child.
//
// A session stores fork_count() when it connects and compares it before each use of the connection.
// If it differs, this process is a child: close the descriptor, make no call into the client
// library (memcached_free, for one, sends a quit to the parent's server), and reconnect.

#pragma once

#include <cstdint>

#include "polycache/detail/export.h"

namespace polycache {

// Number of forks between the process that loaded this library and the calling one. Thread-safe;
// one load.
[[gnu::hot]] POLYCACHE_API std::uint32_t fork_count() noexcept;

}  // namespace polycache
