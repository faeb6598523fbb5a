// What the models of processes have in common: processes of several threads use one store until
// their turns are done, some are killed at random moments and started again, and all of them
// append what they do to one log, which a model then checks. A store that each process has for
// itself (locmem) is used by as many threads of one process, without kills.
//
// POLYCACHE_SEED chooses the same kills again, as far as the machine runs the threads alike.

#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/polycache.h"
#include "support/process_log.h"
#include "support/process_stores.h"

#ifdef __SANITIZE_THREAD__
// Children start threads here, at which ThreadSanitizer would end them if a test before this one
// has had threads.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() {
  return "die_after_fork=0";
}
#endif

namespace polycache::testing {

using Nanoseconds = std::int64_t;

// The same in all processes.
inline Nanoseconds now() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

// Every stock store that keeps something.
inline const auto stores_of_processes =
    ::testing::Values(locmem_store, sqlite_store, redis_store, memcached_store);

class ProcessModel : public ::testing::TestWithParam<ProcessStore> {
 protected:
  struct Size {
    int processes = 8;
    int threads = 4;  // of each process
  };

  // `turns`: how many all processes together do.
  ProcessModel(std::string key_prefix, std::int64_t turns, Size size = {8, 4})
      : key_prefix_(std::move(key_prefix)),
        turns_(turns),
        size_(size),
        seed_(static_cast<std::uint32_t>(
            number_from_environment("POLYCACHE_SEED", std::random_device()()))) {}

  // One thread of one process: calls did_turn() after each turn, until is_done(). `thread` is a
  // number that no other thread has, of this process or another one.
  virtual void work(CacheRegistry& registry, const ProcessLog& log, std::uint64_t thread) = 0;

  bool is_done() const noexcept { return totals_->turns >= turns_; }
  void did_turn() noexcept { ++totals_->turns; }
  std::int64_t turns() const noexcept { return turns_; }
  std::uint32_t seed() const noexcept { return seed_; }
  bool is(std::string_view store) const { return GetParam().name == store; }

  Config config() const {
    return {.caches = {{"default",
                        {.backend = GetParam().name,
                         .location = GetParam().location(),
                         .key_prefix = key_prefix_,
                         .options = patient_options(GetParam().name)}}}};
  }

  // Runs until the turns are done, and returns the path of the log. `after`: with the registry of
  // the threads of a store that each process has for itself; else with one of its own.
  template <class F>
  std::string run(F after) {
    static_cast<void>(GetParam().location());  // its server is this process's
    if (GetParam().is_private) {
      CacheRegistry registry(config(), environment_of_all_stores());
      work_on_threads(registry, size_.processes * size_.threads, 1);
      after(registry);
    } else {
      run_and_kill();
      CacheRegistry registry(config(), environment_of_all_stores());
      after(registry);
    }
    EXPECT_EQ(totals_->failures, 0);
    EXPECT_GE(totals_->turns, turns_);
    return path_;
  }

  // "redis: seed 5, 1500 turns, 7 processes killed".
  std::string summary() const {
    return std::string(GetParam().name) + ": seed " + std::to_string(seed_) + ", " +
           std::to_string(totals_->turns) + " turns, " + std::to_string(killed_) +
           " processes killed";
  }

 private:
  struct Totals {
    std::atomic<std::int64_t> turns{0};
    std::atomic<std::int64_t> failures{0};
  };

  void work_on_threads(CacheRegistry& registry, int threads, std::uint64_t process) {
    const ProcessLog log(path_);
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) {
      all.emplace_back([&, i] {
        try {
          work(registry, log, process * 100 + static_cast<std::uint64_t>(i));
        } catch (const std::exception& error) {
          std::cerr << error.what() << '\n';
          ++totals_->failures;
        }
      });
    }
    for (std::thread& thread : all) thread.join();
  }

  pid_t start_process() {
    const std::uint64_t number = ++processes_;
    const pid_t child = ::fork();
    if (child != 0) return child;
    {
      CacheRegistry registry(config(), environment_of_all_stores());
      work_on_threads(registry, size_.threads, number);
    }
    ::_exit(0);
  }

  void run_and_kill() {
    std::mt19937 random(seed_);
    std::vector<pid_t> children;
    for (int i = 0; i < size_.processes; ++i) children.push_back(start_process());
    while (!is_done() && totals_->failures == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 300));
      pid_t& victim = children.at(random() % children.size());
      ::kill(victim, SIGKILL);
      ::waitpid(victim, nullptr, 0);
      ++killed_;
      victim = start_process();
    }
    for (const pid_t child : children) {
      int status = 0;
      EXPECT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_EQ(status, 0);
    }
  }

  const std::string key_prefix_;
  const std::int64_t turns_;
  const Size size_;
  const std::uint32_t seed_;
  const TemporaryFolder folder_;
  const std::string path_ = folder_.path() / "log";
  const Shared<Totals> totals_;
  std::uint64_t processes_ = 0;
  int killed_ = 0;
};

}  // namespace polycache::testing
