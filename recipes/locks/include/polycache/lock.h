// A lock between threads and processes, kept by the store of a cache.
//
//   polycache::Lock lock("report:42");                // over the alias "default"
//   {
//     std::unique_lock guard(lock);                   // waits; std::try_to_lock does not
//     write_report(lock.stop_token(), lock.fence());
//   }
//
// The store gives the lock to one owner for a lease, which this process renews while it lives. If
// the process dies, the lock is free when the lease ends. If the process is stopped for longer than
// the lease, or cannot reach the store in time, another one may own the lock while this one still
// works: then stop_token() fires, and the resource can reject the older owner's fence().
//
// Two promises that a mutex of one process makes, this lock does not: a failover of redis to a
// replica, and clear() of a redis or memcached store, free it. On a store that may evict it, it is
// refused (LockOptions::evicting_store). docs/locks.md has a table of the stores.
//
// A lock that is made with an alias may be used by any threads, each of which may own it in turn,
// as a std::mutex; one that is made with a Cache is used by that cache's thread alone. A thread
// takes a Lock once, a RecursiveLock as often as it likes. A child of fork() owns nothing of what
// its parent owned. Registry and cache must outlive the lock's use.
//
// If the store fails, lock(), try_lock() and their like throw BackendError, whatever "on_error" is:
// no lock is taken then, or its lease ends without use.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "polycache/cache.h"
#include "polycache/detail/lock_core.h"
#include "polycache/key.h"
#include "polycache/lock_options.h"

namespace polycache {

class Lock {
 public:
  // Two locks are the same if they have one name, one store and one prefix. Throws ValueError for
  // an empty name or a lease of zero or less; BackendError (Kind::unsupported) if the store has no
  // locks, ConfigError if it may evict them, or for a wrong section of the configuration
  // (lock_options.h). A store that cannot be reached now is asked later.
  explicit Lock(KeyView name, const LockOptions& options = {})
      : core_(nullptr, "lock", name, 1, options) {}
  Lock(Cache& cache, KeyView name, const LockOptions& options = {})
      : core_(&cache, "lock", name, 1, options) {}
  // If it is still locked, unlocks it.
  ~Lock() = default;

  // Waits until the lock is free and takes it. Throws CacheError if this thread has it already.
  // Waits by message on redis, elsewhere by looking again after 1 to 50 ms.
  void lock() { core_.take(std::nullopt); }
  // Takes it if it is free now. Returns whether it did. One round trip.
  bool try_lock() { return core_.take(std::chrono::steady_clock::time_point::min()); }
  // Waits no longer than that. Returns whether the lock was taken.
  template <class Rep, class Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& time) {
    return core_.take(detail::moment_after(time));
  }
  template <class Clock, class Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& moment) {
    return core_.take(detail::moment_of(moment));
  }

  // Releases it. If the lock was lost, or the store fails, the alias's warning handler is told
  // (Warning::Kind::lock_lost), the stop token fires, and the store ends the lease. Does nothing if
  // this thread does not have it.
  void unlock() noexcept { core_.unlock(detail::LockCore::Whose::mine); }
  // Releases it, and returns whether it was still this thread's until now. If not, another owner
  // may have had it meanwhile. Throws CacheError if this thread does not have it, BackendError if
  // the store failed: then the lock is given up here, and the store ends the lease.
  bool release() { return core_.release(detail::LockCore::Whose::mine); }

  // Whether this thread has it, and its lease has not ended by this process's clock.
  bool is_held() const { return core_.is_held(); }
  // Fires when the lock is lost: at the latest when its lease ends, counted from before the store
  // was asked for it. A callback runs on a thread of the library, and must not wait long. These
  // three throw CacheError if this thread does not have it.
  std::stop_token stop_token() const { return core_.stop_token(); }
  // A number that is greater for each later owner, for resources that reject older ones. 0 on
  // memcached, which gives none, and after adopt().
  std::uint64_t fence() const { return core_.fence(); }
  // What names this owner to the store.
  std::string token() const { return core_.token(); }

  // Passes the lock on, to another thread or process: this thread no longer has it, and the store
  // keeps it for what its lease has left. Returns the token for the other one's adopt(). Throws
  // CacheError if this thread does not have it.
  std::string detach() { return core_.detach(); }
  // Takes over the lock of that token, with a new lease. Returns false if it has ended. Throws
  // InvalidKey for a null pointer.
  bool adopt(KeyView token) { return core_.adopt(token.text()); }

  const std::string& name() const noexcept { return core_.name(); }

 private:
  detail::LockCore core_;
};

// The same, but the thread that has it may take it again; it is free when it is unlocked as often.
class RecursiveLock {
 public:
  // As those of Lock.
  explicit RecursiveLock(KeyView name, const LockOptions& options = {})
      : core_(nullptr, "recursive lock", name, 1, options) {}
  RecursiveLock(Cache& cache, KeyView name, const LockOptions& options = {})
      : core_(&cache, "recursive lock", name, 1, options) {}
  ~RecursiveLock() = default;

  // As those of Lock. The second time asks no store. Throws CacheError if the lock was lost since
  // this thread took it first: release it completely before it is taken again.
  void lock();
  bool try_lock();
  template <class Rep, class Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& time) {
    return again() || core_.take(detail::moment_after(time));
  }
  template <class Clock, class Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& moment) {
    return again() || core_.take(detail::moment_of(moment));
  }

  void unlock() noexcept;
  // Returns whether it is still this thread's, or was until now.
  bool release();

  bool is_held() const { return core_.is_held(); }
  std::stop_token stop_token() const { return core_.stop_token(); }
  std::uint64_t fence() const { return core_.fence(); }
  const std::string& name() const noexcept { return core_.name(); }

 private:
  // Whether this thread has it: then it has it once more.
  bool again();

  detail::LockCore core_;
};

}  // namespace polycache
