#include "base/workers.h"

#include <cxxabi.h>
#include <pthread.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "polycache/author/signals_blocked.h"

namespace polycache {
namespace {

// Whose thread this is.
constinit thread_local const Workers* mine = nullptr;

// Set when a job has ended this thread by pthread_exit(). A job that has called exit() also ends
// here, but then the process ends, and no other job may start.
constinit thread_local bool is_unwound = false;

void run(Job job) {
  try {
    std::move(job)();
  } catch (const abi::__forced_unwind&) {  // pthread_exit: must not be caught
    is_unwound = true;
    throw;
  } catch (...) {  // a job of the program may throw anything, and no caller could receive it
  }
}

}  // namespace

// Says that a thread has ended. The thread's first thread_local object, so destroyed after those of
// jobs: the caches of the thread are closed by then.
class Workers::Presence {
 public:
  explicit Presence(std::shared_ptr<Workers> workers) noexcept : workers_(std::move(workers)) {}
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;
  ~Presence() {
    mine = nullptr;  // a job may call exit(): then this thread goes on to the handlers of atexit()
    if (workers_->are_of_this_process()) workers_->leave();
  }

 private:
  const std::shared_ptr<Workers> workers_;
};

Workers::Workers(Limits limits, bool closed) : limits_(limits), closed_(closed) {}

bool Workers::accept(Job& job) {
  const std::lock_guard lock(mutex_);
  if (closed_ || queue_.size() >= limits_.waiting_jobs) return false;
  queue_.emplace_back(std::move(job));
  if (queue_.size() > idle_ && living_ < limits_.threads) try_to_start_thread();
  if (living_ == 0) {
    job = std::move(queue_.back());
    queue_.pop_back();
    return false;
  }
  job_or_close_.notify_one();
  return true;
}

// REQUIRES: the mutex is held
void Workers::try_to_start_thread() noexcept {
  const SignalsBlocked blocked;
  try {
    left_.reserve(left_.size() + threads_.size() + 1);  // for leave(), which must not throw
    threads_.emplace_back(work, shared_from_this());
    ++living_;
  } catch (const std::exception&) {  // no memory, or the system refuses
  }
}

void Workers::work(const std::shared_ptr<Workers>& workers) {
  thread_local const Presence presence(workers);
  mine = workers.get();
  pthread_setname_np(pthread_self(), "polycache");
  while (Job job = workers->next_job()) {
    run(std::move(job));
    // A job may fork. In the child, this thread ends.
    if (!workers->are_of_this_process()) return;
  }
}

// Empty if the queue is closed and has no more.
Job Workers::next_job() {
  std::unique_lock lock(mutex_);
  ++idle_;
  job_or_close_.wait(lock, [this] { return closed_ || !queue_.empty(); });
  --idle_;
  if (queue_.empty()) return {};
  Job job = std::move(queue_.front());
  queue_.pop_front();
  return job;
}

void Workers::leave() noexcept {
  const std::lock_guard lock(mutex_);
  --living_;
  if (is_unwound && !queue_.empty()) try_to_start_thread();
  const auto me = std::find_if(threads_.begin(), threads_.end(), [](const std::thread& thread) {
    return thread.get_id() == std::this_thread::get_id();
  });
  if (me != threads_.end()) {
    if (closed_) {
      left_.push_back(std::move(*me));
    } else {
      me->detach();
    }
    threads_.erase(me);
  }
  thread_left_.notify_all();
}

void Workers::close(Waiting waiting) {
  std::deque<Job> dropped;  // destroyed when the mutex is not held: a job may own anything
  const std::lock_guard lock(mutex_);
  closed_ = true;
  if (waiting == Waiting::drop) dropped.swap(queue_);
  job_or_close_.notify_all();
}

bool Workers::is_closed() {
  const std::lock_guard lock(mutex_);
  return closed_;
}

bool Workers::wait_until(std::chrono::steady_clock::time_point moment) {
  std::deque<Job> dropped;
  std::vector<std::thread> ended;
  bool all_have_ended = false;
  {
    std::unique_lock lock(mutex_);
    const bool on_own_thread = mine == this;
    if (on_own_thread) {
      ++waiting_;
      thread_left_.notify_all();  // others that wait here need not wait for this thread
    }
    all_have_ended = thread_left_.wait_until(
        lock, moment, [&] { return living_ == (on_own_thread ? waiting_ : 0); });
    if (on_own_thread) --waiting_;
    dropped.swap(queue_);
    ended.swap(left_);
    for (std::thread& thread : threads_) thread.detach();
    threads_.clear();
  }
  for (std::thread& thread : ended) {
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();  // a job has called exit() after the end of its pool
    } else {
      thread.join();
    }
  }
  return all_have_ended && dropped.empty();
}

}  // namespace polycache
