// Work in the background: the interface between polycache, which has jobs, and the program, which
// owns the threads. The core has no threads and no executor of its own.

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

// Thread-safe.
class POLYCACHE_API Executor {
 public:
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor();

  // Runs the job on another thread, now or later. Returns false, and destroys the job uncalled, if
  // it accepts none: it is full, it was shut down, or this process is a child of fork(). Jobs of
  // polycache do not throw. Never blocks for long: callers are inside a cache operation.
  virtual bool post(Job job) = 0;
};

}  // namespace polycache
