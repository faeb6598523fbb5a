#include "polycache/detail/fork_mutex.h"

#include <pthread.h>

namespace polycache::detail {
namespace {

constinit std::mutex mutex;

void before_fork() { mutex.lock(); }
void after_fork() { mutex.unlock(); }

// Before main(), as the core registers its handlers. fork() calls these before those of the core.
const int registered = pthread_atfork(before_fork, after_fork, after_fork);

}  // namespace

std::mutex& fork_mutex() noexcept {
  static_cast<void>(registered);
  return mutex;
}

}  // namespace polycache::detail
