// At most n at a time, between threads and processes, over the store of a cache.
//
//   polycache::Semaphore imports("imports", 3);
//   if (!imports.try_acquire_for(10s)) return busy();
//   run_import(imports.stop_token());
//   imports.release();
//
// Each permit has a lease of its own, as a lock has (lock.h): a process that dies gives its permits
// back when their leases end. What lock.h says of threads, forks, failures and stores holds here.

#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>

#include "polycache/cache.h"
#include "polycache/detail/lock_core.h"
#include "polycache/key.h"
#include "polycache/lock_options.h"

namespace polycache {

class Semaphore {
 public:
  // All users of a name give the same number of permits. Throws as the constructor of Lock, and
  // ValueError for a number of zero or of more than 1000.
  Semaphore(KeyView name, std::int64_t permits, const LockOptions& options = {})
      : core_(nullptr, "semaphore", name, checked(name, permits), options) {}
  Semaphore(Cache& cache, KeyView name, std::int64_t permits, const LockOptions& options = {})
      : core_(&cache, "semaphore", name, checked(name, permits), options) {}
  // Releases the permits that this object still has.
  ~Semaphore() = default;

  // Waits until there is a permit and takes it. A thread may take several.
  void acquire() { core_.take(std::nullopt); }
  // Returns whether it took one. One round trip; on memcached two.
  bool try_acquire() { return core_.take(std::chrono::steady_clock::time_point::min()); }
  template <class Rep, class Period>
  bool try_acquire_for(const std::chrono::duration<Rep, Period>& time) {
    return core_.take(detail::moment_after(time));
  }
  template <class Clock, class Duration>
  bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& moment) {
    return core_.take(detail::moment_of(moment));
  }

  // Gives back the newest permit of this thread or, if it has none, one of another thread. Returns
  // whether it was still ours until now. Throws CacheError if this object has no permit: what was
  // not acquired cannot be released. Throws BackendError if the store failed: then the permit is
  // given up here, and the store ends its lease.
  bool release() { return core_.release(detail::LockCore::Whose::anyones); }

  // Of this thread's newest permit, as those of Lock. The last two throw CacheError if it has none.
  bool is_held() const { return core_.is_held(); }
  std::stop_token stop_token() const { return core_.stop_token(); }
  std::uint64_t fence() const { return core_.fence(); }

  const std::string& name() const noexcept { return core_.name(); }
  std::int64_t permits() const noexcept { return core_.permits(); }

 private:
  static std::uint32_t checked(KeyView name, std::int64_t permits);

  detail::LockCore core_;
};

}  // namespace polycache
