// The threads of a pool, and the jobs that wait for them. Each thread owns this object too, so a
// job that runs longer than its pool exists finds valid state.
//
// Belongs to one process: in a child of fork() its threads do not exist and its mutex may be
// locked. Thread-safe.

#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "polycache/author/fork.h"
#include "polycache/executor.h"

namespace polycache {

class Workers : public std::enable_shared_from_this<Workers> {
 public:
  struct Limits {
    std::size_t threads = 2;
    std::size_t waiting_jobs = 1000;
  };
  // What close() does with jobs that wait.
  enum class Waiting : unsigned char { run, drop };

  Workers(Limits limits, bool closed);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() = default;

  bool are_of_this_process() const noexcept { return forks_ == fork_count(); }

  // Moves the job to the queue and starts a thread if all threads are busy and one more is
  // allowed. Returns false, and does not move the job, if the queue is full or closed, or if no
  // thread exists and the system refuses to start one. Throws bad_alloc.
  bool accept(Job& job);

  // Accepts no more jobs. The threads end when the queue is empty.
  void close(Waiting waiting);
  bool is_closed();

  // Waits until all threads have ended, their thread_local objects included. On one of these
  // threads: until all others have ended that do not wait here too. At that moment, drops the jobs
  // that still wait, and waits no longer for threads: they end on their own. Returns false if a
  // thread has not ended or if a job was dropped. REQUIRES: closed
  bool wait_until(std::chrono::steady_clock::time_point moment);

 private:
  class Presence;
  static void work(const std::shared_ptr<Workers>& workers);
  Job next_job();
  void try_to_start_thread() noexcept;
  void leave() noexcept;

  const std::uint32_t forks_ = fork_count();
  const Limits limits_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable job_or_close_;
  std::condition_variable thread_left_;
  std::deque<Job> queue_;
  bool closed_;
  std::size_t living_ = 0;   // threads
  std::size_t idle_ = 0;     // threads that wait for a job
  std::size_t waiting_ = 0;  // threads in wait_until()
  // Threads to join. One that is detached is in neither.
  std::vector<std::thread> threads_;  // living
  std::vector<std::thread> left_;     // ended, or about to
};

}  // namespace polycache
