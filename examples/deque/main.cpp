// Two threads that share out jobs, and the last three results. With "sqlite" or "redis" as the
// backend, these may be processes or machines as well.

#include <polycache/deque.h>
#include <polycache/polycache.h>

#include <iostream>
#include <thread>

int main() {
  polycache::configure({.caches = {{"default", {.backend = "locmem"}}}});

  polycache::Deque<int> jobs("jobs");
  polycache::Deque<int> results("results", {.maxlen = 3});
  jobs.extend_back({1, 2, 3, 4, 5, 6});
  jobs.push_front(10);  // at once

  const auto work = [&] {
    while (const auto job = jobs.pop_front()) results.push_back(*job * *job);
  };
  std::thread other(work);
  work();
  other.join();
  for (const int result : results) std::cout << result << '\n';
}
