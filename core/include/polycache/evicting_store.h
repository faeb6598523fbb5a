// What recipes do with a store that may remove what they keep there. lock_options.h and deque.h
// include it.

#pragma once

#include "polycache/detail/export.h"

namespace polycache {

// What to do with a store that may evict locks before their leases end, or collections, such as
// memcached, or redis with a maxmemory-policy of allkeys-*.
enum class EvictingStore : unsigned char {
  refuse,
  // Locks then limit work, and do not exclude for certain; a collection may disappear.
  accept,
};

}  // namespace polycache
