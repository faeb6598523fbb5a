#include "polycache/author/fork.h"

#include <pthread.h>

#include <atomic>
#include <mutex>

#include "base/cold_mutex.h"
#include "base/fork_gate_handlers.h"

namespace polycache {
namespace {

constinit std::atomic<std::uint32_t> forks{0};

void before_fork() {
  close_fork_gate();
  cold_mutex().lock();
}

void after_fork_in_parent() {
  cold_mutex().unlock();
  open_fork_gate_in_parent();
}

void after_fork_in_child() {
  forks.fetch_add(1, std::memory_order_relaxed);
  cold_mutex().unlock();
  open_fork_gate_in_child();
}

// Registered when the library is loaded; a child forked earlier holds nothing of ours.
const int registered = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);

}  // namespace

std::uint32_t fork_count() noexcept {
  static_cast<void>(registered);
  return forks.load(std::memory_order_relaxed);
}

}  // namespace polycache
