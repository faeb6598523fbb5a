// Many threads of many processes ask for one absent key (FAULTS 50 to 55, 61): with
// LoadOptions::lease one of them all computes, whatever the store; without, one of each process.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "polycache/backends/dummy.h"
#include "polycache/backends/locmem.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/backends/sqlite.h"
#include "polycache/polycache.h"
#include "support/server.h"
#include "support/sqlite_file.h"

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

// Memory that children share with their parent.
template <class T>
class Shared {
 public:
  Shared() {
    void* const memory =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no shared memory");
    value_ = new (memory) T();
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(value_, sizeof(T)); }
  T* operator->() const noexcept { return value_; }

 private:
  T* value_;
};

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

struct Store {
  const char* name;
  std::function<std::vector<std::string>()> location;
  bool is_private = false;
};

const SqliteFolder& folder() {
  static const SqliteFolder folder;
  return folder;
}
std::vector<std::string> on_redis() {
  static const auto server = Server::redis();
  return {"redis://" + server->address()};
}
std::vector<std::string> on_memcached() {
  static const auto server = Server::memcached();
  return {server->address()};
}
std::vector<std::string> in_sqlite() { return {folder().file("cache.db")}; }
std::vector<std::string> nowhere() { return {}; }

class Stampede : public ::testing::TestWithParam<Store> {
 protected:
  void SetUp() override {
    config_.caches["default"] = {
        .backend = GetParam().name, .location = GetParam().location(), .timeout = 1h};
    CacheRegistry(config_, environment())["default"].clear();
  }

  static Environment environment() {
    return {.linked_plugins = {&dummy::plugin, &locmem::plugin, &memcached::plugin, &redis::plugin,
                               &sqlite::plugin}};
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
        CacheRegistry registry(config_, environment());
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
    CacheRegistry registry(config_, environment());
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
  CacheRegistry registry(config_, environment());
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
  CacheRegistry registry(config_, environment());
  ask(registry, 64, 64, {});
  EXPECT_EQ(seen_->right.load(), 64);
  EXPECT_EQ(seen_->computations.load(), 1);
}

const Store memcached_store{"memcached", on_memcached};
const Store redis_store{"redis", on_redis};
const Store sqlite_store{"sqlite", in_sqlite};

std::string name_of(const ::testing::TestParamInfo<Store>& test) { return test.param.name; }

INSTANTIATE_TEST_SUITE_P(SharedStores, SharedStampede,
                         ::testing::Values(memcached_store, redis_store, sqlite_store), name_of);
INSTANTIATE_TEST_SUITE_P(AllStores, Stampede,
                         ::testing::Values(Store{"dummy", nowhere, true},
                                           Store{"locmem", nowhere, true}, memcached_store,
                                           redis_store, sqlite_store),
                         name_of);

}  // namespace
}  // namespace polycache::testing
