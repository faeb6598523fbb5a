#include "registry/registry_executor.h"

#include <mutex>
#include <utility>

#include "base/cold_mutex.h"

namespace polycache {

RegistryExecutor::RegistryExecutor(std::shared_ptr<Executor> given) : given_(std::move(given)) {}

bool RegistryExecutor::post(Job job) {
  std::shared_ptr<Executor> given;
  {
    const std::lock_guard lock(cold_mutex());
    if (refuses_) return false;
    given = given_;
  }
  return given ? given->post(std::move(job)) : pool_.post(std::move(job));
}

void RegistryExecutor::use(std::shared_ptr<Executor> given) noexcept {
  const std::lock_guard lock(cold_mutex());
  given_.swap(given);  // the previous one is released after the lock
}

bool RegistryExecutor::shutdown(std::chrono::milliseconds deadline) {
  refuse_jobs();
  return pool_.shutdown(deadline);
}

void RegistryExecutor::end() noexcept {
  refuse_jobs();
  pool_.end();
}

void RegistryExecutor::refuse_jobs() noexcept {
  const std::lock_guard lock(cold_mutex());
  refuses_ = true;
}

}  // namespace polycache
