// What the locks of a program can be told. lock.h, semaphore.h and barrier.h include it.

#pragma once

#include <chrono>
#include <string>

namespace polycache {

class CacheRegistry;

// What to do with a store that may evict locks before their leases end, such as memcached, or redis
// with a maxmemory-policy of allkeys-*.
enum class EvictingStore : unsigned char {
  refuse,
  // Locks then limit work, and do not exclude for certain.
  accept,
};

struct LockOptions {
  // How long the store keeps the lock if its owner does not renew it: the time that others wait
  // after its process has died.
  std::chrono::milliseconds lease{30'000};
  // Renews the lease each third of it until the lock is released, as long as the process lives.
  // Otherwise the owner loses the lock after the lease.
  bool renew = true;
  EvictingStore evicting_store = EvictingStore::refuse;
  std::string cache = "default";      // the alias
  CacheRegistry* registry = nullptr;  // [that of polycache::caches]
};

}  // namespace polycache
