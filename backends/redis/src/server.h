// One server of an alias, as all sessions of the process share it: its connections, and what
// is known of how it is. Calls go through here, so that a server that is down costs its
// callers no system call, and one that comes back is not met by all of them at once.
//
// Thread-safe.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "connection.h"
#include "endpoint.h"
#include "polycache/author/clock.h"
#include "polycache/author/extension.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/net/connection_pool.h"
#include "polycache/warning.h"
#include "reconnect_pace.h"

namespace polycache::redis {

// What an operation is for: who is held back when.
enum class Purpose : std::uint8_t {
  read,
  write,
  erase,  // and whatever else a server without memory does all the same
};

// Commands that there is a substitute for, where the server's rules deny them.
enum class Feature : std::uint8_t { getdel, scripts, psetex, unlink };

class Server {
 public:
  using Pool = ConnectionPool<Connection>;

  // `clock` must outlive it.
  Server(const Endpoint& endpoint, const Limits& limits, const PoolLimits& pool_limits,
         const Clock& clock, std::function<void(const Warning&)> report);

  // One operation; has a connection while it lives, and notes how it ended.
  class Call {
   public:
    // Takes a connection; `hint` is the session's. Throws BackendError if the server is left
    // alone, or all connections are in use until the deadline.
    [[gnu::hot]] Call(Server& server, std::size_t& hint, Purpose purpose, Deadline deadline);
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    // Went well, unless it failed().
    [[gnu::hot]] ~Call();

    // Connects, unless it is connected.
    [[gnu::hot]] Connection& begin(Check check);
    // A fresh connection instead of one that broke.
    Connection& begin_again();

    // REQUIRES: not more than once.
    void failed(const BackendError& error) noexcept;

   private:
    void enter();
    [[gnu::hot]] void went_well() noexcept;
    void note_ticket(const BackendError& error) noexcept;

    Server& server_;
    const Purpose purpose_;
    const Deadline deadline_;
    const Pool::Lease lease_;
    std::optional<ReconnectPace::Ticket> ticket_ = {};  // if it connects
    bool admitted_ = false;                             // and its end not noted yet
    bool may_not_connect_ = false;                      // since the last attempt failed just now
  };

  const std::string& name() const noexcept { return name_; }
  // Of the server. Writes that it refuses while it answers are another matter.
  const CircuitBreaker& breaker() const noexcept { return breaker_; }

  // Whether a call would be refused at once.
  bool refuses(Purpose purpose) const noexcept;
  // Whether none is, nor would be a probe.
  bool admits_all() const noexcept;
  // Whether it is known to take no values for want of memory; it takes erasures.
  bool is_full() const noexcept;

  // Asks the server something small, whatever is known of it, and tells `sink`.
  void check(std::size_t& hint, Deadline deadline,
             FunctionRef<void(const HealthExtension::Server&)> sink) noexcept;

  void close_idle() noexcept { pool_.shrink(0); }

  [[gnu::hot]] bool has(Feature feature) const noexcept;
  // From now on the substitute is used. Says so the first time, if it was denied.
  void do_without(Feature feature, std::string_view error);

 private:
  // Nothing has failed for a while.
  bool is_calm() const noexcept { return breaker_.calm() && writes_.calm(); }
  bool waits_with_writes(Purpose purpose) const noexcept;
  bool admit(Purpose purpose) noexcept;
  [[noreturn]] void throw_refusal() const;
  [[noreturn]] void throw_not_yet() const;
  void note_success(Purpose purpose) noexcept;
  void note_no_memory() noexcept;
  void note_failure(Purpose purpose, BackendError::Kind kind) noexcept;
  void remember(const BackendError& error) noexcept;
  std::string last_failure() const;
  void tell_of_server(CircuitBreaker::Change change) noexcept;
  void tell_of_writes(CircuitBreaker::Change change) noexcept;
  void tell(CircuitBreaker::Change change, std::string_view what,
            const CircuitBreaker& breaker) noexcept;

  const Endpoint endpoint_;
  const Limits limits_;
  const PoolLimits pool_limits_;
  const std::string name_;
  const std::function<void(const Warning&)> report_;
  // Both are asked as for reads: each is about one thing.
  CircuitBreaker breaker_;
  CircuitBreaker writes_;
  ReconnectPace pace_;
  std::atomic<bool> no_memory_{false};          // why it takes no writes
  std::atomic<bool> denied_{false};             // why nobody may connect
  std::array<std::atomic<bool>, 4> lacking_{};  // by Feature
  mutable std::mutex mutex_;                    // guards the next; only ever tried
  std::string last_failure_;
  Pool pool_;
};

}  // namespace polycache::redis
