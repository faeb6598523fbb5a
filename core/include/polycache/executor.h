// Work in the background: the interface between polycache, which has jobs, and the threads that run
// them.
//
// A registry runs the jobs of its caches on the program's executor (Environment::executor). Without
// one, it makes a pool of two threads at the first job: with a queue of 1,000 jobs, and with all
// signals blocked. CacheRegistry::shutdown() and the end of the registry end the pool. It does not
// keep a program from exiting: at exit, jobs that wait are dropped, and jobs that run get at most
// 1 s to end. After fork(), the child's registry makes threads of its own; jobs of the parent do
// not exist in the child.

#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include "polycache/detail/export.h"

namespace polycache {

// A function that is called once. Can be moved, not copied, so the function may own what it needs.
class Job {
 public:
  Job() = default;
  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, Job> && std::invocable<std::decay_t<F>>)
      Job(F&& f)  // NOLINT(google-explicit-constructor): a lambda is a job
      : work_(std::make_unique<WorkOf<std::decay_t<F>>>(std::forward<F>(f))) {}

  // False if there is nothing to call: never given, called, or moved away.
  explicit operator bool() const noexcept { return work_ != nullptr; }

  // Calls the function, destroys it, and leaves the job empty, also if it throws. REQUIRES: *this
  void operator()() && {
    const std::unique_ptr<Work> work = std::move(work_);
    work->run();
  }

 private:
  struct Work {
    Work() = default;
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    virtual ~Work() = default;
    virtual void run() = 0;
  };
  template <class F>
  struct WorkOf final : Work {
    template <class G>
    explicit WorkOf(G&& g) : f(std::forward<G>(g)) {}
    void run() override { std::move(f)(); }
    F f;
  };

  std::unique_ptr<Work> work_;
};

// An executor of the program around a pool that it has already, such as boost::asio::thread_pool,
// needs one function, which calls boost::asio::post() and returns true. For tests:
// polycache/testing/manual_executor.h.
//
// Thread-safe.
class POLYCACHE_API Executor {
 public:
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor();

  // Runs the job on another thread, now or later. Returns false, and destroys the job uncalled, if
  // it accepts none: it is full, it was shut down, or its threads do not exist in this process, a
  // child of fork(). polycache then does without the work, or tries again later. Never blocks for
  // long: callers are inside a cache operation. Must not hold a lock while it calls or destroys a
  // job, since a job may use any cache, and post another job.
  //
  // Jobs of polycache are not empty and do not throw. The default pool refuses empty jobs, and
  // drops what a job throws.
  virtual bool post(Job job) = 0;
};

}  // namespace polycache
