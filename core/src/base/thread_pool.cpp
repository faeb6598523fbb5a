#include "base/thread_pool.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include "base/cold_mutex.h"
#include "base/no_destructor.h"

namespace polycache {

// The workers of one process. A child of fork() replaces those that it inherits.
struct ThreadPool::InProcess {
  std::shared_ptr<Workers> workers;
  void* next = nullptr;
};

namespace {

using SteadyClock = std::chrono::steady_clock;

// How long the end of a pool, and that of the process, wait for jobs that run.
constexpr std::chrono::seconds patience{1};

// What children of fork() have inherited. Never destroyed, since a thread that does not exist here
// may have locked the mutex; a list keeps it reachable for leak checkers.
constinit std::atomic<void*> abandoned{nullptr};

template <class Node>
void abandon(Node* node) noexcept {
  node->next = abandoned.load(std::memory_order_relaxed);
  while (!abandoned.compare_exchange_weak(node->next, node, std::memory_order_release)) {
  }
}

// All workers that exist. Guarded by cold_mutex().
std::vector<std::weak_ptr<Workers>>& all_workers() {
  static NoDestructor<std::vector<std::weak_ptr<Workers>>> all;
  return *all;
}

void end_all_at_exit() {
  const SteadyClock::time_point moment = SteadyClock::now() + patience;
  std::vector<std::shared_ptr<Workers>> all;
  {
    const std::lock_guard lock(cold_mutex());
    for (const std::weak_ptr<Workers>& workers : all_workers()) {
      if (auto held = workers.lock(); held && held->are_of_this_process()) {
        all.push_back(std::move(held));
      }
    }
  }
  for (const auto& workers : all) workers->close(Workers::Waiting::drop);
  for (const auto& workers : all) workers->wait_until(moment);
}

void end_at_exit(const std::shared_ptr<Workers>& workers) {
  static constinit std::atomic<bool> registered{false};
  if (!registered.exchange(true)) static_cast<void>(std::atexit(end_all_at_exit));
  const std::lock_guard lock(cold_mutex());
  std::erase_if(all_workers(), [](const auto& others) { return others.expired(); });
  all_workers().push_back(workers);
}

// Far enough for any caller, and no overflow.
SteadyClock::time_point from_now(std::chrono::milliseconds deadline) {
  constexpr std::chrono::milliseconds longest = std::chrono::hours(24 * 365);
  return SteadyClock::now() + std::clamp(deadline, std::chrono::milliseconds::zero(), longest);
}

}  // namespace

ThreadPool::ThreadPool(Workers::Limits limits) : limits_(limits) {}

ThreadPool::~ThreadPool() {
  end();
  InProcess* const current = current_.load(std::memory_order_acquire);
  if (current == nullptr) return;
  if (current->workers->are_of_this_process()) {
    delete current;
  } else {
    abandon(current);
  }
}

bool ThreadPool::post(Job job) {
  if (!job) return false;
  try {
    return workers()->accept(job);
  } catch (const std::exception&) {  // no memory
    return false;
  }
}

bool ThreadPool::shutdown(std::chrono::milliseconds deadline) {
  const SteadyClock::time_point moment = from_now(deadline);
  ended_.store(true, std::memory_order_release);
  // Also where no job was posted yet: another thread may post the first one now.
  const std::shared_ptr<Workers> ending = workers();
  ending->close(Workers::Waiting::run);
  return ending->wait_until(moment);
}

void ThreadPool::end() noexcept {
  ended_.store(true, std::memory_order_release);
  const InProcess* const current = current_.load(std::memory_order_acquire);
  if (current == nullptr || !current->workers->are_of_this_process()) return;
  Workers& workers = *current->workers;
  const bool was_shut_down = workers.is_closed();
  workers.close(Workers::Waiting::drop);
  workers.wait_until(was_shut_down ? SteadyClock::now() : from_now(patience));
}

std::shared_ptr<Workers> ThreadPool::workers() {
  InProcess* current = current_.load(std::memory_order_acquire);
  if (current != nullptr && current->workers->are_of_this_process()) [[likely]]
    return current->workers;
  auto fresh = std::make_unique<InProcess>();
  fresh->workers = std::make_shared<Workers>(limits_, ended_.load(std::memory_order_acquire));
  end_at_exit(fresh->workers);
  if (!current_.compare_exchange_strong(current, fresh.get(), std::memory_order_acq_rel)) {
    return current->workers;
  }
  if (current != nullptr) abandon(current);
  return fresh.release()->workers;
}

}  // namespace polycache
