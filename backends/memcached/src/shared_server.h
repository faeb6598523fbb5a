// One server as all threads of the process see it: its connections, whether it may be asked
// (a circuit breaker), and when it may be connected to again.

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

  // A connection to ask something by. Throws BackendError if the server is left alone at the
  // moment, or no connection became free in time. What then happens is told to judged(), or
  // to blame() and succeeded(). `hint` is the pool's: 0 at first.
  Lease enter(std::size_t& hint, Access access, Term term);

  // The same, for health: whatever the breaker says. What comes of it counts for nothing, or
  // somebody who asks often would keep the others away.
  Lease enter_anyhow(std::size_t& hint, Term term) { return take(hint, term, false); }

  // Runs f(), and counts its end for or against the server.
  template <class F>
  auto judged(Access access, F&& f) {
    struct Success {  // also of what throws something else: the server did answer
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

  // Runs f(), which is not the last part of an operation: only a failure counts.
  template <class F>
  void blame(Access access, F&& f) {
    try {
      f();
    } catch (const BackendError& error) {
      failed(access, error);
      throw;
    }
  }

  // Closes idle connections beyond so many.
  void shrink(std::size_t most_open) noexcept { pool_.shrink(most_open); }

  const CircuitBreaker& breaker() const noexcept { return breaker_; }
  // Whether nobody is kept from asking it, or from connecting.
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
  // Only ever tried: in a fork's child it may be held for good.
  mutable std::mutex mutex_;
  std::string last_failure_;  // guarded by it
};

}  // namespace polycache::memcached
