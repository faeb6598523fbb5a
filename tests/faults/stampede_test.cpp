// Many threads of many processes ask for one absent key (FAULTS 50 to 55, 61): with
// LoadOptions::lease one of them all computes, whatever the store; without, one of each process.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "polycache/polycache.h"
#include "support/process_stores.h"

#ifdef __SANITIZE_THREAD__
// Children start threads of their own here, at which ThreadSanitizer would end them. A child also
// makes the locks anew that its parent took before the fork (tls_gate.cpp), which it takes for
// locks that are still held.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() {
  return "die_after_fork=0:detect_deadlocks=0";
}
#endif

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;

constexpr int processes = 8;
constexpr int threads_each = 8;

struct Seen {
  std::atomic<int> ready{0};
  std::atomic<int> computations{0};
  std::atomic<int> right{0};
};

// Until all others are there, too; a child that died must not keep the rest.
void meet(std::atomic<int>& ready, int all) {
  ready.fetch_add(1);
  const auto give_up = std::chrono::steady_clock::now() + 60s;
  while (ready.load() < all && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::sleep_for(1ms);
  }
}

class Stampede : public ::testing::TestWithParam<ProcessStore> {
 protected:
  void SetUp() override {
    config_.caches["default"] = {
        .backend = GetParam().name, .location = GetParam().location(), .timeout = 1h};
    CacheRegistry(config_, environment_of_all_stores())["default"].clear();
  }

  // Every thread asks once.
  void ask(CacheRegistry& registry, int threads, int all, const LoadOptions& options) {
    std::vector<std::thread> group;
    for (int i = 0; i < threads; ++i) {
      group.emplace_back([&] {
        Cache& cache = registry["default"];
        meet(seen_->ready, all);
        const int value = cache.get_or_set(
            "k",
            [&] {
              std::this_thread::sleep_for(300ms);  // the others are there by then
              seen_->computations.fetch_add(1);
              return 42;
            },
            options);
        if (value == 42) seen_->right.fetch_add(1);
      });
    }
    for (std::thread& thread : group) thread.join();
  }

  void ask_in_processes(const LoadOptions& options) {
    std::vector<pid_t> children;
    for (int i = 0; i < processes; ++i) {
      children.push_back(start_child([&] {
        CacheRegistry registry(config_, environment_of_all_stores());
        ask(registry, threads_each, processes * threads_each, options);
        return true;
      }));
    }
    for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
    EXPECT_EQ(seen_->right.load(), processes * threads_each);
  }

  Config config_;
  Shared<Seen> seen_;
};

// On the stores that processes share.
class SharedStampede : public Stampede {};

// The tests that fork come before those that start threads here: children of a process that never
// had any are the same under every sanitizer.
TEST_P(SharedStampede, ALeaseEndsSoonAfterItsProcessWasKilled) {
  const LoadOptions options{.lease = 1s};
  const pid_t child = start_child([&] {
    CacheRegistry registry(config_, environment_of_all_stores());
    registry["default"].get_or_set(
        "k",
        []() -> int {
          ::raise(SIGKILL);
          return 1;
        },
        options);
    return false;
  });
  EXPECT_EQ(WTERMSIG(wait_for(child)), SIGKILL);
  const auto began = std::chrono::steady_clock::now();
  CacheRegistry registry(config_, environment_of_all_stores());
  EXPECT_EQ(registry["default"].get_or_set(
                "k", [] { return 2; }, options),
            2);
  EXPECT_EQ(registry["default"].get<int>("k"), 2) << "stored, so it had a lease of its own";
  // Without the lease's end it would have waited for 30 s.
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
}

TEST_P(Stampede, ALeaseLetsOneThreadOfAllProcessesCompute) {
  ask_in_processes({.lease = 30s});
  EXPECT_EQ(seen_->computations.load(), GetParam().is_private ? processes : 1);
}

TEST_P(Stampede, OneOf64ThreadsComputes) {
  CacheRegistry registry(config_, environment_of_all_stores());
  ask(registry, 64, 64, {});
  EXPECT_EQ(seen_->right.load(), 64);
  EXPECT_EQ(seen_->computations.load(), 1);
}

std::vector<std::string> nowhere() { return {}; }

INSTANTIATE_TEST_SUITE_P(SharedStores, SharedStampede,
                         ::testing::Values(memcached_store, redis_store, sqlite_store), name_of);
INSTANTIATE_TEST_SUITE_P(AllStores, Stampede,
                         ::testing::Values(ProcessStore{"dummy", nowhere, true},
                                           ProcessStore{"locmem", nowhere, true}, memcached_store,
                                           redis_store, sqlite_store),
                         name_of);

}  // namespace
}  // namespace polycache::testing
