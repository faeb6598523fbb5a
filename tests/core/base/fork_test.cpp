// A fork that meets other threads in the library's cold paths. Each child must be able to use
// them: none of their locks may come locked into it.

#include "polycache/author/fork.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stop_token>
#include <thread>
#include <vector>

#include "polycache/backends/dummy.h"
#include "polycache/polycache.h"

namespace polycache {
namespace {

constexpr unsigned patience = 100;  // seconds; a deadlock ends by a signal

TEST(Fork, MeetsThreadsInTheColdPaths) {
  CacheRegistry registry({.caches = {{"default", {.backend = "dummy"}}}},
                         {.linked_plugins = {&dummy::plugin}});
  std::vector<std::jthread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) static_cast<void>(registry.contains("default"));
    });
  }
  const std::uint32_t before = fork_count();
  for (int round = 0; round < 100; ++round) {
    const pid_t child = fork();
    ASSERT_NE(child, -1);
    if (child == 0) {
      alarm(patience);
      _exit(registry.contains("default") && fork_count() == before + 1 ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << "in round " << round;
  }
  EXPECT_EQ(fork_count(), before);
}

}  // namespace
}  // namespace polycache
