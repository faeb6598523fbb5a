#include "fork_guard.h"

#include <pthread.h>

#include <cstdlib>
#include <memory>

namespace polycache::locmem {
namespace {

constinit std::mutex guards_mutex;  // guards what follows, and is held over a fork
// The guards whose handlers are in this copy of the code: one, except in tests that create their
// own process-wide objects.
constinit ForkGuard* guards = nullptr;

}  // namespace

ForkGuard& ForkGuard::of(const BackendContext& context) {
  // It owns itself, so it is never destroyed: the handlers stay, too.
  const auto object = context.process_wide("locmem/fork/1", []() -> std::shared_ptr<void> {
    const auto guard = std::make_shared<ForkGuard>();
    guard->self_ = guard;
    return guard;
  });
  auto& guard = *static_cast<ForkGuard*>(object.get());
  std::call_once(guard.registered_, register_handlers, guard);
  return guard;
}

void ForkGuard::register_handlers(ForkGuard& guard) {
  static constexpr auto before = [] {
    guards_mutex.lock();
    for (ForkGuard* g = guards; g != nullptr; g = g->next_) g->before_fork();
  };
  static constexpr auto after = [] {
    for (ForkGuard* g = guards; g != nullptr; g = g->next_) g->after_fork();
    guards_mutex.unlock();
  };
  const std::lock_guard lock(guards_mutex);
  if (guards == nullptr) {
    pthread_atfork(before, after, after);
    static constexpr auto at_exit = [](int, void*) {
      const std::lock_guard exiting(guards_mutex);
      for (ForkGuard* g = guards; g != nullptr; g = g->next_) g->before_exit();
    };
    // Of the GNU library. Not atexit(), which in a plugin cannot be told from the destructor of a
    // static object, and no plugin may have one.
    static_cast<void>(::on_exit(at_exit, nullptr));
  }
  guard.next_ = guards;
  guards = &guard;
}

void ForkGuard::add(Forkable& store) {
  const std::lock_guard lock(mutex_);
  stores_.insert(&store);
}

void ForkGuard::remove(Forkable& store) noexcept {
  const std::lock_guard lock(mutex_);
  stores_.erase(&store);
}

void ForkGuard::add_outer(Forkable& location) {
  const std::lock_guard lock(outer_mutex_);
  locations_.insert(&location);
}

void ForkGuard::remove_outer(Forkable& location) noexcept {
  const std::lock_guard lock(outer_mutex_);
  locations_.erase(&location);
}

void ForkGuard::before_fork() noexcept {
  outer_mutex_.lock();
  for (Forkable* location : locations_) location->lock_for_fork();
  mutex_.lock();
  for (Forkable* store : stores_) store->lock_for_fork();
}

// Other threads may go on; one that makes or drops a store waits.
void ForkGuard::before_exit() noexcept {
  const std::lock_guard lock(mutex_);
  for (Forkable* store : stores_) store->before_exit();
}

void ForkGuard::after_fork() noexcept {
  for (Forkable* store : stores_) store->unlock_after_fork();
  mutex_.unlock();
  for (Forkable* location : locations_) location->unlock_after_fork();
  outer_mutex_.unlock();
}

}  // namespace polycache::locmem
