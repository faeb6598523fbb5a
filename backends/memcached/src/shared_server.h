// One server, shared by all threads of the process: its connections, its circuit breaker, and the
// pause before the next attempt to connect.

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "connection.h"
#include "polycache/author/clock.h"
#include "polycache/error.h"
#include "polycache/net/backoff.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/net/connection_pool.h"
#include "polycache/warning.h"
#include "settings.h"

namespace polycache::memcached {

// Thread-safe.
class SharedServer {
 public:
  using Lease = ConnectionPool<Connection>::Lease;

  // All of these must outlive it.
  SharedServer(const ServerAddress& address, const Settings& settings, const Clock& clock,
               const std::function<void(const Warning&)>& report);
  SharedServer(const SharedServer&) = delete;
  SharedServer& operator=(const SharedServer&) = delete;

  // Returns a connection. Throws BackendError if the breaker is open, or no connection becomes free
  // in time. The caller then runs its request with judged(). An operation of several requests runs
  // them with blame(), and calls succeeded() at its end.
  // `hint` belongs to the pool: 0 at first.
  Lease enter(std::size_t& hint, Access access, Term term);

  // The same for health checks, regardless of the breaker. The outcome is not counted; otherwise
  // frequent checks could block other calls.
  Lease enter_anyhow(std::size_t& hint, Term term) { return take(hint, term, false); }

  // Runs f(), and records its success or failure.
  template <class F>
  auto judged(Access access, F&& f) {
    struct Success {  // also for other exceptions: the server did answer
      ~Success() {
        if (server != nullptr) server->succeeded(access);
      }
      SharedServer* server;
      Access access;
    } success{this, access};
    try {
      return f();
    } catch (const ValueTooLarge&) {
      throw;
    } catch (const BackendError& error) {
      success.server = nullptr;
      failed(access, error);
      throw;
    }
  }

  // Runs f(), which is not the last part of an operation: only a failure is recorded.
  template <class F>
  void blame(Access access, F&& f) {
    try {
      f();
    } catch (const BackendError& error) {
      failed(access, error);
      throw;
    }
  }

  // Closes idle connections beyond this number.
  void shrink(std::size_t most_open) noexcept { pool_.shrink(most_open); }

  const CircuitBreaker& breaker() const noexcept { return breaker_; }
  // Whether no call and no connection attempt is currently blocked.
  bool admits_all() const noexcept {
    return breaker_.state(Access::write) == CircuitBreaker::State::closed && !redial_.is_pausing();
  }
  const ServerAddress& address() const noexcept { return address_; }

 private:
  void succeeded(Access access) noexcept {
    if (breaker_.succeeded(access) == CircuitBreaker::Change::closed) [[unlikely]]
      tell_closed();
  }
  void failed(Access access, const BackendError& error);
  void tell_closed() noexcept;
  Lease take(std::size_t& hint, Term term, bool tells_redial = true);
  Lease wait_for_one(std::size_t& hint, Term term);
  [[noreturn]] void refuse(Access access) const;
  [[noreturn]] void refuse_to_connect() const;
  std::string last_failure() const;

  const ServerAddress& address_;
  const std::function<void(const Warning&)>& report_;
  const std::size_t max_connections_;
  CircuitBreaker breaker_;
  Redial redial_;
  ConnectionPool<Connection> pool_;

  std::atomic<BackendError::Kind> last_kind_{BackendError::Kind::unreachable};
  // Only locked with try_lock: in a fork's child it may stay locked forever.
  mutable std::mutex mutex_;
  std::string last_failure_;  // guarded by it
};

}  // namespace polycache::memcached
