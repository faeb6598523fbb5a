// Each thread's own Caches, found again without a lock.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
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

  // A registry has ended: nobody looks for its caches any more. References to them work on, so
  // they live as long as the thread, but out of the way of find().
  void retire(std::uint64_t registry) noexcept {
    const auto ended = std::partition(slots_.begin(), slots_.end(),
                                      [=](const Slot& slot) { return slot.registry != registry; });
    try {
      for (auto slot = ended; slot != slots_.end(); ++slot) {
        retired_.push_back(std::move(slot->cache));
      }
    } catch (...) {  // out of memory: they stay, in the way
      return;
    }
    slots_.erase(ended, slots_.end());
  }

  void close(std::uint64_t registry) noexcept {
    for (Slot& slot : slots_) {
      if (slot.registry == registry) slot.cache->close();
    }
  }

 private:
  friend struct ThreadCachesOwner;

  static constinit thread_local ThreadCaches* current_;

  std::vector<std::unique_ptr<Cache>> retired_;
  std::vector<Slot> slots_;
};

}  // namespace polycache
