// Where the background work of a registry's aliases runs: on the program's executor or, without
// one, on a pool of two threads that belongs to the registry. Aliases refer to it weakly, so it
// stays the same when the registry is reconfigured. Thread-safe.

#pragma once

#include <chrono>
#include <memory>

#include "base/thread_pool.h"
#include "polycache/executor.h"

namespace polycache {

class RegistryExecutor final : public Executor {
 public:
  // Null: the pool.
  explicit RegistryExecutor(std::shared_ptr<Executor> given);

  // Returns false as the executor in use does, and after shutdown() or end().
  bool post(Job job) override;

  // Jobs that are posted from now on go there.
  void use(std::shared_ptr<Executor> given) noexcept;

  // Accepts no more jobs, then ThreadPool::shutdown().
  bool shutdown(std::chrono::milliseconds deadline);

  // Accepts no more jobs, then ThreadPool::end().
  void end() noexcept;

 private:
  void refuse_jobs() noexcept;

  // Guarded by cold_mutex().
  std::shared_ptr<Executor> given_;
  bool refuses_ = false;

  ThreadPool pool_;
};

}  // namespace polycache
