// What the locks of a program can be told. lock.h, semaphore.h and barrier.h include it.
//
// An option that is not given in code is that of the lock's name in the section "locks" of the
// configuration, else that of the section "lock_defaults", else the one in brackets here:
//
//   "lock_defaults": {"lease": "1m"},
//   "locks": {"report:42": {"cache": "shared", "renew": false}}
//
// The configuration is that of the registry when the object is made; a reload changes no object.
// For one that is made with a Cache it is that of LockOptions::registry, and none if that is null.

#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "polycache/evicting_store.h"

namespace polycache {

class CacheRegistry;

struct LockOptions {
  // How long the store keeps the lock if its owner does not renew it: the time that others wait
  // after its process has died. [30 s]
  std::optional<std::chrono::milliseconds> lease = {};
  // Renews the lease each third of it until the lock is released, as long as the process lives.
  // Otherwise the owner loses the lock after the lease. [true]
  std::optional<bool> renew = {};
  std::optional<EvictingStore> evicting_store = {};  // [refuse]
  std::optional<std::string> cache = {};             // the alias ["default"]
  CacheRegistry* registry = nullptr;                 // [that of polycache::caches]
};

}  // namespace polycache
