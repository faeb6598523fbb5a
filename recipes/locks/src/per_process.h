// An object that each process has for itself: a child of fork() makes another one, and never
// touches that of its parent, whose mutex may be locked by a thread that does not exist here.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "polycache/author/fork.h"

namespace polycache::detail {

// What children of fork() have inherited. A list keeps it reachable for leak checkers.
struct Inherited {
  Inherited* next_inherited = nullptr;
  const std::uint32_t forks = fork_count();
};

inline void abandon(Inherited* inherited) noexcept {
  static constinit std::atomic<Inherited*> all{nullptr};
  inherited->next_inherited = all.load(std::memory_order_relaxed);
  while (
      !all.compare_exchange_weak(inherited->next_inherited, inherited, std::memory_order_release)) {
  }
}

// `current` may be null. T derives from Inherited.
template <class T>
T& of_this_process(std::atomic<T*>& current) {
  T* known = current.load(std::memory_order_acquire);
  while (known == nullptr || known->forks != fork_count()) {
    auto fresh = std::make_unique<T>();
    if (current.compare_exchange_strong(known, fresh.get(), std::memory_order_acq_rel)) {
      if (known != nullptr) abandon(known);
      return *fresh.release();
    }
  }
  return *known;
}

}  // namespace polycache::detail
