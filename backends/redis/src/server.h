// One server of an alias, shared by all sessions of the process: its connections and its state.
// All calls go through it, so that a server that is down costs its callers no system call, and one
// that recovers is not contacted by all of them at once.
//
// Thread-safe.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "connection.h"
#include "endpoint.h"
#include "polycache/author/clock.h"
#include "polycache/author/extension.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/net/connection_pool.h"
#include "polycache/net/reconnect_pace.h"
#include "polycache/net/server_record.h"
#include "polycache/warning.h"
#include "settings.h"

namespace polycache::redis {

// The purpose of an operation; decides which operations are blocked when.
enum class Purpose : std::uint8_t {
  read,         // may lag behind the writes: a replica will do
  read_latest,  // must see the last write
  write,
  erase,  // and whatever else a server without memory still does
  wait,   // for another client: on a connection that no operation needs meanwhile
};

constexpr bool is_read(Purpose purpose) noexcept {
  return purpose == Purpose::read || purpose == Purpose::read_latest || purpose == Purpose::wait;
}

// Commands with a substitute, used if the server's access rules deny them.
enum class Feature : std::uint8_t { getdel, scripts, psetex, unlink, getex, blpop };

class Server {
 public:
  using Pool = ConnectionPool<Connection>;

  // All of these must outlive it.
  Server(const Endpoint& endpoint, const Settings& settings, const Clock& clock,
         const std::function<void(const Warning&)>& report);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // One operation: holds a connection during its lifetime, and records the outcome.
  class Call {
   public:
    // Takes a connection; `hint` belongs to the session. Throws BackendError if a circuit breaker
    // is open, or if all connections are in use until the deadline; to wait, if they are now.
    [[gnu::hot]] Call(Server& server, std::size_t& hint, Purpose purpose, Deadline deadline);
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    // Records a success, unless failed() was called.
    [[gnu::hot]] ~Call();

    // Connects unless already connected.
    [[gnu::hot]] Connection& begin(Check check);
    // Replaces a broken connection.
    Connection& begin_again();

    // REQUIRES: called at most once.
    void failed(const BackendError& error) noexcept;

   private:
    void enter();
    [[gnu::hot]] void went_well() noexcept;
    void note_ticket(const BackendError& error) noexcept;

    Server& server_;
    const Purpose purpose_;
    const Deadline deadline_;
    const Pool::Lease lease_;
    std::optional<net::ReconnectPace::Ticket> ticket_ = {};  // if it connects
    bool admitted_ = false;                                  // and its outcome is not recorded yet
    bool may_not_connect_ = false;  // since the last attempt failed recently
  };

  const std::string& name() const noexcept { return record_.name(); }
  // The server's breaker. Refused writes are tracked separately while the server answers.
  const CircuitBreaker& breaker() const noexcept { return record_.breaker(); }

  // Whether a call would be refused at once.
  bool refuses(Purpose purpose) const noexcept;
  // Whether no call would be refused, nor be a probe.
  bool admits_all() const noexcept;
  // Whether it is known to refuse values for lack of memory; it still accepts erasures.
  bool is_full() const noexcept;

  // Sends the server a small request regardless of its state, and passes the result to `sink`.
  void check(std::size_t& hint, Deadline deadline,
             FunctionRef<void(const HealthExtension::Server&)> sink) noexcept;

  void close_idle() noexcept {
    pool_.shrink(0);
    waiting_.shrink(0);
  }

  [[gnu::hot]] bool has(Feature feature) const noexcept;
  // Switches to the substitute. Warns the first time if access rules deny the command.
  void use_fallback_for(Feature feature, std::string_view error);

 private:
  // Nothing has failed for a while.
  bool is_calm() const noexcept { return breaker().calm() && writes_.calm(); }
  bool waits_with_writes(Purpose purpose) const noexcept;
  bool admit(Purpose purpose) noexcept;
  [[noreturn]] void throw_refusal() const;
  [[noreturn]] void throw_not_yet() const;
  Pool& pool_for(Purpose purpose) noexcept { return purpose == Purpose::wait ? waiting_ : pool_; }
  void note_success(Purpose purpose) noexcept;
  void note_no_memory() noexcept;
  void note_failure(Purpose purpose, BackendError::Kind kind) noexcept;
  void report_change_of_server(CircuitBreaker::Change change) noexcept;
  void report_change_of_writes(CircuitBreaker::Change change) noexcept;
  void report_change(CircuitBreaker::Change change, std::string_view what,
                     const CircuitBreaker& breaker) noexcept;

  const Settings& settings_;
  const std::function<void(const Warning&)>& report_;
  // Its breaker and `writes_` use Access::read only, since each covers one kind of failure.
  net::ServerRecord record_;
  CircuitBreaker writes_;
  std::atomic<bool> no_memory_{false};          // why it refuses writes
  std::array<std::atomic<bool>, 6> lacking_{};  // by Feature
  Pool pool_;
  Pool waiting_;  // as many again, so that those who wait for a lock do not delay its release
};

}  // namespace polycache::redis
