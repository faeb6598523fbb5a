// What the tests of background work share.

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "polycache/backends/dummy.h"
#include "polycache/polycache.h"

namespace polycache {

inline constexpr std::chrono::seconds patience{100};  // only a failure takes so long

// Something that happens once.
class Event {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    happened_ = true;
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [this] { return happened_; });
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool happened_ = false;
};

inline Config two_aliases() {
  return {.caches = {{"a", {.backend = "dummy"}}, {"b", {.backend = "dummy"}}}};
}

inline Environment environment(std::shared_ptr<Executor> executor = nullptr) {
  return {
      .on_warning = nullptr, .executor = std::move(executor), .linked_plugins = {&dummy::plugin}};
}

// Waits until the pools of this process have so many threads: the system removes a thread a little
// after it was joined.
inline bool pools_have_threads(int expected) {
  for (const auto end = std::chrono::steady_clock::now() + patience;;) {
    int count = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string name;
      std::getline(std::ifstream(task.path() / "comm"), name);
      if (name == "polycache") ++count;
    }
    if (count == expected) return true;
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
}

class BackgroundWork : public ::testing::Test {
 protected:
  // Shared with the jobs, which may outlive the test that fails.
  struct Shared {
    Event both_run;
    Event release;
    std::atomic<int> running{0};
    std::atomic<int> completed{0};
  };

  ~BackgroundWork() override { shared_->release.set(); }

  bool post(Job job) { return registry_->executor()->post(std::move(job)); }

  // Posts a job and waits until it has run.
  bool runs_a_job() {
    const auto ran = std::make_shared<Event>();
    return post([ran] { ran->set(); }) && ran->wait();
  }

  // Gives both threads of the pool a job that ends when `release` is set.
  void occupy() {
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(post([shared = shared_] {
        if (++shared->running == 2) shared->both_run.set();
        shared->release.wait();
        ++shared->completed;
      }));
    }
    ASSERT_TRUE(shared_->both_run.wait());
  }

  std::optional<CacheRegistry> registry_{std::in_place, two_aliases(), environment()};
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace polycache
