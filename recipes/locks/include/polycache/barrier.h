// A function that runs in one place at a time, in all processes: each call takes a lock before and
// releases it afterwards, also if the function throws.
//
//   auto rebuild_index = polycache::barrier("rebuild_index", [](Shelf& shelf) { ... });
//   rebuild_index(shelf);   // waits while another thread or process is inside
//
// What lock.h says of locks holds here. A barrier may be called by all threads at once, unless it
// was made with a Cache. A call from inside the function, by the same thread, throws CacheError.

#pragma once

#include <functional>
#include <mutex>
#include <type_traits>
#include <utility>

#include "polycache/cache.h"
#include "polycache/key.h"
#include "polycache/lock.h"
#include "polycache/lock_options.h"

namespace polycache {

template <class F>
class Barrier {
 public:
  // As those of Lock.
  Barrier(KeyView name, F function, const LockOptions& options = {})
      : lock_(name, options), function_(std::move(function)) {}
  Barrier(Cache& cache, KeyView name, F function, const LockOptions& options = {})
      : lock_(cache, name, options), function_(std::move(function)) {}

  // Returns what the function returns. If the lock was lost meanwhile, the warning handler is told.
  template <class... Arguments>
  requires std::is_invocable_v<F&, Arguments...>
  decltype(auto) operator()(Arguments&&... arguments) {
    const std::unique_lock guard(lock_);
    return std::invoke(function_, std::forward<Arguments>(arguments)...);
  }

  // The lock of the calls; stop_token() and fence() are for the function.
  const Lock& lock() const noexcept { return lock_; }

 private:
  Lock lock_;
  F function_;
};

template <class F>
Barrier<std::decay_t<F>> barrier(KeyView name, F&& function, const LockOptions& options = {}) {
  return {name, std::forward<F>(function), options};
}
template <class F>
Barrier<std::decay_t<F>> barrier(Cache& cache, KeyView name, F&& function,
                                 const LockOptions& options = {}) {
  return {cache, name, std::forward<F>(function), options};
}

}  // namespace polycache
