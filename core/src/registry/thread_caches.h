// Each thread's own Caches, found without a lock.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "front/key_bytes.h"
#include "polycache/cache.h"

namespace polycache {

class ThreadCaches {
 public:
  struct Slot {
    std::uint64_t registry;    // the registry it belongs to
    std::uint64_t generation;  // of the cache's configuration in the registry; 0: none
    std::string alias;
    std::unique_ptr<Cache> cache;  // its address never changes
  };

  // The calling thread's caches, or null if it has none yet or has destroyed them.
  static ThreadCaches* current() noexcept { return current_; }

  // Creates them if there are none yet. Throws CacheError if the thread has already destroyed its
  // caches (it is ending).
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

  // The first idle cache of that registry with an older configuration, or null.
  Slot* find_older(std::uint64_t registry, std::uint64_t generation) noexcept;

  // For an alias that the configuration no longer has: closes its session, releases its store, and
  // makes its operations throw. The cache stays in place, in case the alias returns.
  void end(Slot& slot);

  // Does the same with the caches of registries that have ended, and removes them from find()'s
  // search. Busy ones are left for the next call. Closing may use caches, and move the slots.
  void release_ended() noexcept;

  // Closes the sessions of that registry's caches.
  void close(std::uint64_t registry) noexcept;

  // The aliases of that registry for which the thread has caches, sorted.
  std::vector<std::string> aliases(std::uint64_t registry) const;

  // Records which registries exist, for release_ended(). Thread-safe.
  static void registry_begins(std::uint64_t registry);
  static void registry_ends(std::uint64_t registry) noexcept;

 private:
  friend struct ThreadCachesOwner;

  static constinit thread_local ThreadCaches* current_;

  Slot* find_ended() noexcept;
  void retire(Slot& slot);
  const std::shared_ptr<CacheState>& ended_state(const Cache& cache);

  // By alias and version: the states that ended caches are moved to.
  std::map<std::pair<std::string, int>, std::shared_ptr<CacheState>> ended_states_;
  std::vector<std::unique_ptr<Cache>> retired_;  // references to them may be held
  std::vector<Slot> slots_;
  std::uint64_t seen_ends_ = 0;  // the number of ended registries that release_ended() has handled
};

}  // namespace polycache
