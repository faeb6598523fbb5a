// One server of an alias, shared by all sessions of the process: its connections and what is known
// of it. All calls go through it, so that a server that is down costs its callers no system call,
// and one that recovers is not contacted by all of them at once.

#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "connection.h"
#include "polycache/author/clock.h"
#include "polycache/author/extension.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/net/connection_pool.h"
#include "polycache/net/server_record.h"
#include "polycache/warning.h"
#include "settings.h"

namespace polycache::memcached {

// Thread-safe.
class Server {
 public:
  using Pool = ConnectionPool<Connection>;

  // All of these must outlive it.
  Server(const Endpoint& endpoint, const Settings& settings, const Clock& clock,
         const std::function<void(const Warning&)>& report);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // One operation: holds a connection during its lifetime.
  class Call {
   public:
    // Takes a connection; `hint` belongs to the session. Throws BackendError if the breaker is
    // open, or no connection becomes free until the deadline.
    Call(Server& server, std::size_t& hint, Access access, net::Deadline deadline)
        : server_(&server), access_(access), lease_(server.enter(hint, access, deadline)) {}

    // Runs f(connection), the whole operation or its last part, and records the outcome.
    template <class F>
    auto run(F&& f) {
      struct Success {  // also for other exceptions: the server did answer
        ~Success() {
          if (server != nullptr) server->succeeded(access);
        }
        Server* server;
        Access access;
      } success{server_, access_};
      try {
        return f(*lease_);
      } catch (const ValueTooLarge&) {
        throw;
      } catch (const BackendError& error) {
        success.server = nullptr;
        server_->failed(access_, error);
        throw;
      }
    }

    // Runs f(connection), which is not the last part: only a failure is recorded.
    template <class F>
    void run_part(F&& f) {
      try {
        f(*lease_);
      } catch (const BackendError& error) {
        server_->failed(access_, error);
        throw;
      }
    }

    // Changes the deadline for the rest of the operation.
    void limit(net::Deadline deadline) noexcept { lease_->limit(deadline); }

   private:
    Server* server_;
    Access access_;
    Pool::Lease lease_;
  };

  const std::string& name() const noexcept { return record_.name(); }
  const CircuitBreaker& breaker() const noexcept { return record_.breaker(); }
  // Whether a call would be refused at once.
  bool refuses(Access access) const noexcept { return breaker().refuses(access); }
  // Whether no call would be refused, nor be a probe.
  bool admits_all() const noexcept { return record_.admits_all(); }

  // Sends the server a small request regardless of its state, and passes the result to `sink`. The
  // outcome is not recorded; otherwise frequent checks could block other calls.
  void check(std::size_t& hint, net::Deadline deadline,
             FunctionRef<void(const HealthExtension::Server&)> sink);

  // Closes idle connections beyond this number.
  void shrink(std::size_t most_open) noexcept { pool_.shrink(most_open); }

 private:
  void succeeded(Access access) noexcept {
    if (record_.breaker().succeeded(access) == CircuitBreaker::Change::closed) [[unlikely]]
      tell_closed();
  }
  void failed(Access access, const BackendError& error);
  void tell_closed() noexcept;
  Pool::Lease enter(std::size_t& hint, Access access, net::Deadline deadline);
  Pool::Lease take(std::size_t& hint, net::Deadline deadline, AfterFailure after);
  Pool::Lease wait_for_one(std::size_t& hint, net::Deadline deadline);
  [[noreturn]] void throw_refusal(Access access) const;
  [[noreturn]] void throw_not_yet() const;
  std::string last_failure() const;

  const std::function<void(const Warning&)>& report_;
  const std::size_t max_connections_;
  net::ServerRecord record_;
  Pool pool_;
};

}  // namespace polycache::memcached
