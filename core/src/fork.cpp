#include "polycache/fork.h"

#include <pthread.h>

#include <atomic>
#include <mutex>

#include "cold_mutex.h"

namespace polycache {
namespace {

constinit std::atomic<std::uint32_t> forks{0};

// Counts from the moment the library is loaded; a child that was made before does not
// hold anything of ours.
const int registered =
    pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });

}  // namespace

std::mutex& cold_mutex() noexcept {
  static constinit std::mutex mutex;
  return mutex;
}

std::uint32_t fork_count() noexcept {
  static_cast<void>(registered);
  return forks.load(std::memory_order_relaxed);
}

}  // namespace polycache
