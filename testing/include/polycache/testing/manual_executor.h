// An executor that runs jobs only when a test says so, on the test's own thread.
//
//   auto executor = std::make_shared<polycache::testing::ManualExecutor>();
//   polycache::CacheRegistry registry(config, {.executor = executor});
//   ...                           // something that posts a job
//   EXPECT_EQ(executor->size(), 1U);
//   executor->run_all();
//
// Thread-safe. No lock is held while a job runs or is destroyed, so a job may post another one.

#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

#include "polycache/executor.h"

namespace polycache::testing {

class ManualExecutor final : public Executor {
 public:
  // Keeps the job. Returns false, and destroys the job uncalled, after refuse(true), and if the job
  // is empty.
  bool post(Job job) override {
    const std::lock_guard lock(mutex_);
    if (refuses_ || !job) {
      ++refused_;
      return false;
    }
    jobs_.push_back(std::move(job));
    return true;
  }

  // Runs the job that was posted first, on the calling thread. Returns false if there is none.
  // Throws what the job throws; the job is gone then.
  bool run_one() {
    Job job;
    {
      const std::lock_guard lock(mutex_);
      if (jobs_.empty()) return false;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    std::move(job)();
    return true;
  }

  // Runs jobs until there is none, also those that are posted meanwhile. Returns how many it ran.
  // Throws what a job throws; the jobs after it stay.
  std::size_t run_all() {
    std::size_t count = 0;
    while (run_one()) ++count;
    return count;
  }

  // Destroys all jobs uncalled.
  void clear() {
    std::deque<Job> dropped;  // destroyed after the lock
    const std::lock_guard lock(mutex_);
    dropped.swap(jobs_);
  }

  // True: post() refuses every job, as an executor that is full or has ended. Jobs that were
  // accepted before stay.
  void refuse(bool refuses) {
    const std::lock_guard lock(mutex_);
    refuses_ = refuses;
  }

  // The number of jobs that wait.
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return jobs_.size();
  }
  bool empty() const { return size() == 0; }

  // The number of jobs that post() has refused.
  std::size_t refused() const {
    const std::lock_guard lock(mutex_);
    return refused_;
  }

 private:
  mutable std::mutex mutex_;  // guards what follows
  std::deque<Job> jobs_;
  std::size_t refused_ = 0;
  bool refuses_ = false;
};

}  // namespace polycache::testing
