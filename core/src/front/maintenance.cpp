#include "polycache/maintenance.h"

#include <cxxabi.h>

#include <exception>
#include <string>
#include <utility>

#include "front/backend_call.h"
#include "front/cache_state.h"
#include "front/unsupported.h"
#include "polycache/cache.h"
#include "polycache/error.h"

namespace polycache {

Maintenance::Maintenance(std::shared_ptr<CacheState> state)
    : state_(std::move(state)),
      store_(static_cast<MaintenanceExtension*>(
          state_->shared().factory()->extension(MaintenanceExtension::id))) {
  if (store_ != nullptr) return;
  throw_unsupported(state_->shared(), "maintenance", "has no functions for its maintenance",
                    MaintenanceExtension::id);
}

// Not an operation of a cache: no session, no policy, no circuit breaker.
void Maintenance::run(std::string_view operation, FunctionRef<void()> call) const {
  const std::string where = state_->alias() + ": " + std::string(operation) + ": ";
  BackendCall warnings;
  try {
    call();
  } catch (const BackendError& error) {
    state_->shared().deliver(warnings);
    throw BackendError(where, error);
  } catch (const CacheError&) {
    throw;
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
    throw;
  } catch (const std::exception& error) {
    throw BackendError(BackendError::Kind::storage, "",
                       where + state_->shared().plugin() + " threw " + error.what());
  }
  state_->shared().deliver(warnings);
}

std::size_t Maintenance::expire() const {
  std::size_t removed = 0;
  run("expire", [&] { removed = store_->expire(); });
  return removed;
}

std::size_t Maintenance::cull() const {
  std::size_t removed = 0;
  run("cull", [&] { removed = store_->cull(); });
  return removed;
}

std::optional<std::uint64_t> Maintenance::volume() const {
  std::optional<std::uint64_t> bytes;
  run("volume", [&] { bytes = store_->volume(); });
  return bytes;
}

StoreCounts Maintenance::counts() const {
  StoreCounts counts;
  run("counts", [&] { counts = store_->counts(); });
  return counts;
}

template <class Extension>
Extension& Maintenance::ability(std::string_view operation, std::string_view lack) const {
  void* const found = state_->shared().factory()->extension(Extension::id);
  if (found == nullptr) throw_unsupported(state_->shared(), operation, lack, Extension::id);
  return *static_cast<Extension*>(found);
}

std::uint64_t Maintenance::save() const {
  auto& dump = ability<DumpExtension>("save", "cannot save its entries");
  std::uint64_t entries = 0;
  run("save", [&] { entries = dump.save(); });
  return entries;
}

std::vector<StoreProblem> Maintenance::check(Fix fix) const {
  auto& store = ability<CheckExtension>("check", "cannot check itself");
  std::vector<StoreProblem> problems;
  run("check", [&] {
    store.check(fix, [&](const CheckExtension::Problem& problem) {
      problems.push_back({std::string(problem.text), problem.is_fixed});
    });
  });
  return problems;
}

std::uint64_t Maintenance::vacuum(Vacuum how) const {
  auto& store = ability<VacuumExtension>("vacuum", "has no space to give back");
  std::uint64_t bytes = 0;
  run("vacuum", [&] { bytes = store.vacuum(how); });
  return bytes;
}

Maintenance Cache::maintenance() const { return Maintenance(state_); }

}  // namespace polycache
