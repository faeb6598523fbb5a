// A program that ends while it holds a lock.
//
//   lock_exit LOCK END
//
// LOCK: local, static, leaked, or hanging, whose store hangs while the lock is renewed. END:
// return, exit, exit_in_a_thread. Prints "held" when it has the lock.

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>

#include "polycache/locks.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/memory_store.h"

// Threads may run when the process ends, which its leak checker cannot stop to look at.
extern "C" __attribute__((visibility("default"), used)) const char* __asan_default_options() {
  return "detect_leaks=0";
}

namespace {

using namespace std::chrono_literals;

void print(std::string_view text) {
  if (write(STDOUT_FILENO, text.data(), text.size()) < 0) _exit(9);
}

polycache::LockOptions short_lease() { return {.lease = 3s}; }

polycache::Lock& static_lock() {
  static polycache::Lock lock("static", short_lease());
  return lock;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const std::string_view kind = arguments[1];
  const std::string_view end = arguments[2];
  polycache::configure(
      {.caches = {{"default", {.backend = "memory", .layers = {{.name = "chaos"}}}}}},
      {.linked_plugins = {&polycache::testing::memory_store, &polycache::testing::chaos_layer}});
  std::unique_ptr<polycache::Lock> local;
  if (kind == "static") {
    static_lock().lock();
  } else {
    local = std::make_unique<polycache::Lock>("local", short_lease());
    local->lock();
  }
  if (kind == "leaked" || kind == "hanging") static_cast<void>(local.release());
  print("held\n");
  if (kind == "hanging") {
    polycache::testing::Chaos::named("default")->set({.slow = 1, .delay = 1h});
    std::this_thread::sleep_for(1500ms);  // the renewal is under way
  }
  if (end == "exit") std::exit(0);
  if (end == "exit_in_a_thread") std::thread([] { std::exit(0); }).join();
  return 0;
}
