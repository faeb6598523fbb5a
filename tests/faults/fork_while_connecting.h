// Forks, again and again, while other threads connect.

#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "support/forks.h"
#include "two_policies.h"

namespace polycache::testing {

// How many of so many children did not come back from an operation that connects; all of them if
// none could connect. REQUIRES: the store's idle_timeout is 1ms.
inline int children_that_hang(TwoPolicies& store, int children) {
  std::atomic<bool> ending{false};
  std::vector<std::thread> threads;
  for (int i = 0; allocator_survives_forks && i < 3; ++i) {
    threads.emplace_back([&] {
      while (!ending) {
        store.open().set("k", 1);
        std::this_thread::sleep_for(
            std::chrono::milliseconds(2));  // the connection is too old then
      }
    });
  }
  int hanging = 0;
  bool any_connected = false;
  for (int i = 0; i < children; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(100);
      ::_exit(store.open().set("k", 1) ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    hanging += WIFEXITED(status) ? 0 : 1;
    any_connected = any_connected || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  ending = true;
  for (std::thread& thread : threads) thread.join();
  return any_connected ? hanging : children;
}

}  // namespace polycache::testing
