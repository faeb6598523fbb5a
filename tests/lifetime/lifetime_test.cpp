#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/backends/dummy.h"
#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"

using namespace std::chrono_literals;

// Under AddressSanitizer: processes end here while detached threads run, which its leak
// checker cannot stop to look at them. Leaks are looked for by all other tests.
extern "C" __attribute__((visibility("default"), used)) const char* __asan_default_options() {
  return "detect_leaks=0";
}

namespace polycache {
namespace {

// Runs f in a child and returns its exit status, 128 + signal if it died of one. What f
// leaves behind (threads, globals) goes through a regular exit().
int status_of(const std::function<void()>& f) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    f();
    std::exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Config loaded_locmem(const std::string& prefix = "") {
  return {.caches = {{"default",
                      {.backend = "locmem", .location = {"lifetime"}, .key_prefix = prefix}}},
          .plugin_path = {POLYCACHE_PLUGIN_FOLDER}};
}

TEST(Threads, EndWithOpenCaches) {
  CacheRegistry registry(loaded_locmem());
  for (int i = 0; i < 50; ++i) {
    std::thread([&] { registry["default"].set("k", i); }).join();
  }
  EXPECT_EQ(registry["default"].get<int>("k"), 49);
}

// An object whose destructor runs when its thread ends, after the thread's caches are gone
// if it was made before them.
struct AsksAtTheEnd {
  explicit AsksAtTheEnd(CacheRegistry& r, std::string& s) : registry(r), said(s) {}
  AsksAtTheEnd(const AsksAtTheEnd&) = delete;
  AsksAtTheEnd& operator=(const AsksAtTheEnd&) = delete;
  ~AsksAtTheEnd() {
    try {
      registry["default"].get("k");
    } catch (const CacheError& error) {
      said = error.what();
    }
  }
  CacheRegistry& registry;
  std::string& said;
};

TEST(Threads, UseAfterTheCachesAreGoneIsADefinedException) {
  CacheRegistry registry(loaded_locmem());
  std::string said;
  std::thread([&] {
    thread_local const AsksAtTheEnd last(registry, said);
    registry["default"].get("k");
  }).join();
  EXPECT_THAT(said, ::testing::HasSubstr("this thread is ending"));
}

TEST(Processes, EndWhileDetachedThreadsUseTheGlobalCaches) {
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(status_of([] {
                configure(loaded_locmem());
                std::atomic<int> running{0};
                for (int i = 0; i < 4; ++i) {
                  std::thread([&running, i] {
                    ++running;
                    for (int n = 0;; ++n) caches["default"].set("k" + std::to_string(i), n);
                  }).detach();
                }
                while (running < 4) std::this_thread::yield();
                std::this_thread::sleep_for(5ms);  // exit in the middle of their work
              }),
              0);
  }
}

TEST(Processes, EndWithCachesInGlobalObjects) {
  EXPECT_EQ(status_of([] {
              static CacheRegistry* const kept = new CacheRegistry(loaded_locmem());
              static CacheRegistry destroyed_at_exit(loaded_locmem());
              (*kept)["default"].set("k", 1);
              destroyed_at_exit["default"].set("k", 1);
              std::atexit([] { (void)caches; });
            }),
            0);
}

TEST(Processes, TheGlobalRegistryMakesItselfFromTheEnvironment) {
  EXPECT_EQ(status_of([] {
              unsetenv("POLYCACHE_CONFIG");
              setenv("POLYCACHE_PLUGIN_PATH", POLYCACHE_PLUGIN_FOLDER, 1);
              cache().set("k", 5);
              if (caches["default"].get<int>("k") != 5) std::exit(3);
              configure(loaded_locmem("new"));
              if (caches["default"].final_key("k") != "new:1:k") std::exit(4);
            }),
            0);
}

TEST(Reconfigure, UnderLoadEveryThreadMovesToTheNewOne) {
  CacheRegistry registry(loaded_locmem("0"));
  std::atomic<bool> stop{false};
  std::atomic<long> operations{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      while (!stop) {
        Cache& cache = registry["default"];
        const std::string key = "k" + std::to_string(i);
        cache.set(key, i);
        if (const auto value = cache.get<int>(key)) {
          EXPECT_EQ(*value, i);
        }
        cache.get_or_set("shared", [] { return 1; });
        ++operations;
      }
    });
  }
  for (int generation = 1; generation <= 100; ++generation) {
    registry.reconfigure(loaded_locmem(std::to_string(generation)));
    EXPECT_THROW(registry.reconfigure({.caches = {{"default", {.backend = "nope"}}}}), ConfigError);
    const long before = operations;
    while (operations < before + 4) std::this_thread::yield();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry["default"].final_key("k"), "100:1:k");
}

// ThreadSanitizer ends a process in which a thread holds 64 mutexes at once.
TEST(Fork, WithManyLocationsEndsNoProcess) {
  Config config{.plugin_path = {POLYCACHE_PLUGIN_FOLDER}};
  for (int i = 0; i < 100; ++i) {
    const std::string name = "a" + std::to_string(i);
    config.caches[name] = {.backend = "locmem", .location = {name}};
  }
  CacheRegistry registry(config);
  for (const auto& [name, alias] : config.caches) registry[name].set("k", 1);
  EXPECT_EQ(status_of([&] {
              alarm(100);  // a deadlock ends as a failure
              bool good = true;
              for (const auto& [name, alias] : config.caches)
                good &= registry[name].get<int>("k") == 1;
              _exit(good ? 0 : 1);
            }),
            0);
  for (const auto& [name, alias] : config.caches) registry[name].set("k", 2);
}

// g++ 12's AddressSanitizer does not hold its allocator's locks over a fork: a child may wait in
// malloc() for ever, whatever we do.
#if !defined(__SANITIZE_ADDRESS__)
TEST(Fork, WhileOtherThreadsWorkTheChildCanUseItsCaches) {
  CacheRegistry registry(loaded_locmem());
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; !stop; ++n) {
        Cache& cache = registry["default"];
        cache.set("k" + std::to_string(n % 1000), i);
        cache.get_or_set("g" + std::to_string(n % 100), [] { return 1; });
        if (n % 64 == 0) std::unique_ptr<Cache> opened = registry.open("default");
      }
    });
  }
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    ASSERT_NE(child, -1);
    if (child == 0) {
      alarm(100);  // a deadlock ends as a failure
      CacheRegistry own(loaded_locmem());
      bool good = true;
      for (int n = 0; n < 1000; ++n) {
        good &= registry["default"].set("k" + std::to_string(n), n);
        good &= own["default"].get_or_set("child" + std::to_string(n), [] { return 2; }) == 2;
      }
      _exit(good ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}
#endif

#if !defined(__SANITIZE_ADDRESS__)
// Opening a cache takes a lock of the store's location, which a child needs for its own registry.
TEST(Fork, WhileOtherThreadsOpenCachesTheChildCanUseTheLocation) {
  CacheRegistry registry(loaded_locmem());
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) registry.open("default")->backend();
    });
  }
  for (int round = 0; round < 200; ++round) {
    ASSERT_EQ(status_of([] {
                alarm(100);  // a deadlock ends as a failure
                CacheRegistry own(loaded_locmem());
                _exit(own["default"].set("k", 1) ? 0 : 1);
              }),
              0);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}
#endif

TEST(Fork, AComputationUnderWayIsNotTheChilds) {
  CacheRegistry registry(loaded_locmem());
  registry["default"].clear();
  const int value = registry["default"].get_or_set("k", [&] {
    // The owner of this flight does not exist in the child's other calls: no call waits.
    EXPECT_EQ(status_of([&] {
                alarm(100);
                std::thread([&] {
                  if (registry["default"].get_or_set("k", [] { return 2; }) != 2) _exit(3);
                }).join();
                _exit(0);
              }),
              0);
    return 1;
  });
  EXPECT_EQ(value, 1);
}

TEST(LinkedAndLoaded, ShareTheStoresOfOneName) {
  CacheRegistry loaded(loaded_locmem());
  CacheRegistry linked(loaded_locmem(), {.linked_plugins = {&locmem::plugin}});
  EXPECT_NE(loaded.describe()[0].plugin_file, "");
  EXPECT_EQ(linked.describe()[0].plugin_file, "");
  loaded["default"].set("k", "from the plugin");
  EXPECT_EQ(linked["default"].get("k"), "from the plugin");
}

}  // namespace
}  // namespace polycache
