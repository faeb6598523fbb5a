// Prevents fork() from copying a store in the middle of a change: the stores' locks are taken
// before a fork and released on both sides, so that a child can use the inherited stores. Also
// tells them that the process exits.

#pragma once

#include <memory>
#include <mutex>
#include <set>

#include "polycache/author/backend.h"
#include "polycache/author/spin_lock.h"

namespace polycache::locmem {

// An object whose locks must be held while the process forks.
class Forkable {
 public:
  virtual void lock_for_fork() noexcept = 0;
  virtual void unlock_after_fork() noexcept = 0;
  // Called when the process exits by exit() or from main().
  virtual void before_exit() noexcept {}

 protected:
  ~Forkable() = default;
};

// One per process; never destroyed. Thread-safe.
class ForkGuard {
 public:
  // The guard of the process that `context` belongs to.
  static ForkGuard& of(const BackendContext& context);

  void add(Forkable& store);
  void remove(Forkable& store) noexcept;
  // Likewise an object under whose lock stores are added and removed: its lock is taken first.
  void add_outer(Forkable& location);
  void remove_outer(Forkable& location) noexcept;

 private:
  static void register_handlers(ForkGuard& guard);
  void before_fork() noexcept;
  void after_fork() noexcept;
  void before_exit() noexcept;

  std::shared_ptr<ForkGuard> self_;
  std::once_flag registered_;
  ForkGuard* next_ = nullptr;

  SpinLock outer_mutex_;  // guards what follows
  std::set<Forkable*> locations_;

  SpinLock mutex_;  // guards what follows; taken after the locks of locations
  std::set<Forkable*> stores_;
};

}  // namespace polycache::locmem
