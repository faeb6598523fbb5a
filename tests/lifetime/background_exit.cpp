// A program that ends while jobs of its registry run and wait.
//
//   background_exit REGISTRY END
//
// REGISTRY: global, static, local. END: return, exit, exit_in_a_job, exit_in_a_job_of_a_shutdown.
// Prints "dropped" when the job that waits is destroyed, "ran" when it runs.

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <string_view>
#include <thread>

#include "polycache/backends/dummy.h"
#include "polycache/polycache.h"

// Threads run when the process ends, which its leak checker cannot stop to look at.
extern "C" __attribute__((visibility("default"), used)) const char* __asan_default_options() {
  return "detect_leaks=0";
}

namespace {

using namespace std::chrono_literals;

void print(std::string_view text) {
  if (write(STDOUT_FILENO, text.data(), text.size()) < 0) _exit(9);
}

struct WaitingJob {
  WaitingJob() = default;
  WaitingJob(WaitingJob&& other) noexcept : is_told(other.is_told) { other.is_told = true; }
  WaitingJob& operator=(WaitingJob&&) = delete;
  ~WaitingJob() {
    if (!is_told) print("dropped\n");
  }
  void operator()() const { print("ran\n"); }
  bool is_told = false;
};

// Never destroyed: a job may wait for it when the process ends.
struct Running {
  std::mutex mutex;
  std::condition_variable changed;
  int count = 0;
};
Running& running() {
  static Running* const all = new Running;
  return *all;
}

void say_that_a_job_runs() {
  const std::lock_guard lock(running().mutex);
  ++running().count;
  running().changed.notify_all();
}

// Two jobs that do not end by themselves, and one that waits for them.
void fill(polycache::CacheRegistry& registry, std::string_view end) {
  const bool in_a_job = end.starts_with("exit_in_a_job");
  const auto executor = registry.executor();
  executor->post([] {
    say_that_a_job_runs();
    std::this_thread::sleep_for(1h);
  });
  executor->post([in_a_job] {
    say_that_a_job_runs();
    if (!in_a_job) std::this_thread::sleep_for(1h);
    std::unique_lock lock(running().mutex);
    running().changed.wait(lock, [] { return running().count == 3; });
    lock.unlock();
    std::exit(0);
  });
  std::unique_lock lock(running().mutex);
  running().changed.wait(lock, [] { return running().count == 2; });
  lock.unlock();
  executor->post(WaitingJob());
}

int use(polycache::CacheRegistry& registry, std::string_view end) {
  fill(registry, end);
  // Runs before the handlers of the registry: a job that could start meanwhile would.
  if (std::atexit([] { std::this_thread::sleep_for(100ms); }) != 0) return 7;
  if (end == "exit") std::exit(0);
  if (end == "exit_in_a_job") {
    say_that_a_job_runs();
    std::this_thread::sleep_for(1h);
  }
  if (end == "exit_in_a_job_of_a_shutdown") {
    registry.shutdown(0s);
    say_that_a_job_runs();
    std::this_thread::sleep_for(1h);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 8;
  alarm(100);  // a program that does not exit ends as a failure
  const std::string_view where = argv[1];
  const std::string_view end = argv[2];
  const polycache::Config config{.caches = {{"default", {.backend = "dummy"}}}};
  const polycache::Environment environment{.linked_plugins = {&polycache::dummy::plugin}};
  if (where == "global") {
    polycache::configure(config, environment);
    return use(polycache::global_registry(), end);
  }
  if (where == "static") {
    static polycache::CacheRegistry registry(config, environment);
    return use(registry, end);
  }
  polycache::CacheRegistry registry(config, environment);
  return use(registry, end);
}
