// An executor with threads of its own and a bounded queue. The threads are started by the first
// jobs, and block all signals.
//
// - A job may post to its pool, shut it down and release the last reference to it.
// - A job that throws ends nothing; the exception is dropped.
// - In a child of fork() the pool starts threads of its own at the next post(). Jobs that waited or
//   ran in the parent do not exist in the child, and what they own is never destroyed there.
// - When the process exits, every pool is closed by a handler of atexit(): jobs that wait are
//   dropped, and the handler waits for those that run, for at most 1 s altogether. After that, a
//   job that still runs ends with the process.
//
// Thread-safe.

#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "base/workers.h"
#include "polycache/executor.h"

namespace polycache {

class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(Workers::Limits limits = {});
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  // Calls end().
  ~ThreadPool() override;

  // Returns false if the job is empty, the queue is full, the pool was shut down, or the system has
  // no memory or thread left. Does not wait for a job.
  bool post(Job job) override;

  // Accepts no more jobs, and waits until the accepted ones have ended and their threads too, or
  // for `deadline` from now. Then jobs that wait are dropped; a job that still runs is not
  // disturbed. Returns whether every job has ended and none was dropped. On a thread of the pool:
  // waits for the other threads only. Throws bad_alloc.
  bool shutdown(std::chrono::milliseconds deadline);

  // Accepts no more jobs, drops those that wait and, if the pool was not shut down before, waits
  // for those that run as shutdown() does, for at most 1 s.
  void end() noexcept;

 private:
  struct InProcess;
  std::shared_ptr<Workers> workers();

  const Workers::Limits limits_;
  std::atomic<bool> ended_{false};            // for the workers that a child of fork() makes
  std::atomic<InProcess*> current_{nullptr};  // null until the first job
};

}  // namespace polycache
