// Each thread's own Caches, found again without a lock.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "key_bytes.h"
#include "polycache/cache.h"

namespace polycache {

class ThreadCaches {
 public:
  struct Slot {
    std::uint64_t registry;    // which registry it belongs to
    std::uint64_t generation;  // of the registry's configuration that the cache is on
    std::string alias;
    std::unique_ptr<Cache> cache;  // its address never changes
  };

  // The calling thread's, or null if it has none yet or none any more.
  static ThreadCaches* current() noexcept { return current_; }

  // Makes them if there are none yet. Throws CacheError if the thread has destroyed its
  // caches already (it is ending).
  static ThreadCaches& of_this_thread();

  Slot* find(std::uint64_t registry, std::string_view alias) noexcept {
    for (Slot& slot : slots_) {
      if (slot.registry == registry && slot.alias.size() == alias.size() &&
          equal_bytes(slot.alias.data(), alias.data(), alias.size())) {
        return &slot;
      }
    }
    return nullptr;
  }
  Slot& add(Slot slot) { return slots_.emplace_back(std::move(slot)); }

  void close(std::uint64_t registry) noexcept {
    for (Slot& slot : slots_) {
      if (slot.registry == registry) slot.cache->close();
    }
  }

 private:
  friend struct ThreadCachesOwner;

  static constinit thread_local ThreadCaches* current_;

  std::vector<Slot> slots_;
};

}  // namespace polycache
