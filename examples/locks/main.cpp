// Four threads that write one report, one after another. With "sqlite" or "redis" as the backend,
// these may be processes or machines as well.

#include <polycache/locks.h>
#include <polycache/polycache.h>

#include <iostream>
#include <mutex>
#include <thread>
#include <vector>

int main() {
  polycache::configure({.caches = {{"default", {.backend = "locmem"}}}});

  polycache::Lock lock("report:42");
  int pages = 0;  // guarded by the lock
  const auto write_page = [&] {
    const std::unique_lock guard(lock);
    if (!lock.stop_token().stop_requested()) ++pages;  // it fires if the lock is lost
  };
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) writers.emplace_back(write_page);
  for (std::thread& writer : writers) writer.join();
  std::cout << pages << " pages\n";
}
