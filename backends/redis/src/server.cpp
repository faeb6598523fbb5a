#include "server.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "command.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;
using State = CircuitBreaker::State;

std::string milliseconds(std::chrono::milliseconds time) {
  return std::to_string(time.count()) + " ms";
}

struct Substitute {
  std::string_view command;
  std::string_view instead;
};

Substitute substitute_for(Feature feature) {
  switch (feature) {
    case Feature::getdel:
      return {"getdel", "pop is a transaction now"};
    case Feature::scripts:
      return {"evalsha or eval", "counting and comparing watch the key now, in more round trips"};
    case Feature::psetex:
      return {"psetex", "values are stored by set"};
    case Feature::unlink:
      return {"unlink", "clearing by prefix uses del, which keeps the server busy for longer"};
    case Feature::getex:
      return {"getex", "reading with a new lifetime takes two commands, in one round trip"};
    case Feature::blpop:
      return {"blpop", "those who wait for a lock ask for it again and again"};
  }
  return {};
}

}  // namespace

Server::Server(const Endpoint& endpoint, const Settings& settings, const Clock& clock,
               const std::function<void(const Warning&)>& report)
    : settings_(settings),
      report_(report),
      record_(endpoint.name(), clock, settings.limits.operation),
      writes_(clock),
      pool_(settings.pool, clock,
            [this, &endpoint, &settings] {
              return std::make_unique<Connection>(endpoint, settings.limits, name());
            }),
      waiting_(settings.pool, clock, [this, &endpoint, &settings] {
        return std::make_unique<Connection>(endpoint, settings.limits, name());
      }) {}

// --- Admission ---

// Erasing needs no memory.
bool Server::waits_with_writes(Purpose purpose) const noexcept {
  if (purpose == Purpose::erase) return !no_memory_.load(std::memory_order_relaxed);
  return purpose == Purpose::write;
}

bool Server::refuses(Purpose purpose) const noexcept {
  if (is_calm()) [[likely]]
    return false;
  return breaker().refuses(Access::read) ||
         (waits_with_writes(purpose) && writes_.refuses(Access::read));
}

bool Server::admits_all() const noexcept {
  return record_.admits_all() && writes_.state(Access::read) == State::closed;
}

// Takes no write probe if the server's own breaker refuses the call.
bool Server::admit(Purpose purpose) noexcept {
  if (refuses(purpose) || !record_.breaker().admit(Access::read)) return false;
  if (waits_with_writes(purpose)) static_cast<void>(writes_.admit(Access::read));
  return true;
}

bool Server::is_full() const noexcept {
  return !writes_.calm() && no_memory_.load(std::memory_order_relaxed) &&
         writes_.refuses(Access::read);
}

void Server::throw_refusal() const {
  const bool is_down = breaker().refuses(Access::read);
  const auto pause = (is_down ? breaker() : writes_).pause_left(Access::read);
  const std::string last = record_.last_failure();
  throw BackendError(is_down ? Kind::unreachable : Kind::overloaded, name(),
                     std::string(is_down ? "it keeps failing and is not asked"
                                         : "it refuses writes, so none are sent") +
                         " (circuit breaker open, next attempt in " + milliseconds(pause) + ")" +
                         (last.empty() ? "" : "; last failure: " + last));
}

void Server::throw_not_yet() const {
  const std::string last = record_.last_failure();
  throw BackendError(record_.kind_of_pause(), name(),
                     "the last connection attempt failed; next attempt in " +
                         milliseconds(record_.pace().pause_left()) +
                         (last.empty() ? "" : "; last failure: " + last));
}

Server::Call::Call(Server& server, std::size_t& hint, Purpose purpose, Deadline deadline)
    : server_(server),
      purpose_(purpose),
      deadline_(deadline),
      lease_(server.refuses(purpose)
                 ? Pool::Lease()
                 : server.pool_for(purpose).take(
                       hint, purpose == Purpose::wait ? coarse_now() : deadline)) {
  if (lease_) [[likely]]
    return;
  if (server.refuses(purpose)) server.throw_refusal();
  throw BackendError(Kind::overloaded, server.name(),
                     "all " + std::to_string(server.settings_.pool.max_connections) +
                         " connections were in use until the limit of " +
                         milliseconds(server.settings_.limits.operation) +
                         "; raise the option max_connections");
}

void Server::Call::enter() {
  ticket_ = server_.record_.pace().enter();
  if (ticket_) return;
  may_not_connect_ = true;
  server_.throw_not_yet();
}

Connection& Server::Call::begin(Check check) {
  Connection& connection = *lease_;
  connection.begin(deadline_, check);
  const bool connects = !connection.is_open();
  if (connects) enter();
  if (!server_.is_calm() && !server_.admit(purpose_)) [[unlikely]] {
    if (connects) server_.record_.pace().leave(*ticket_);
    server_.throw_refusal();
  }
  admitted_ = true;
  if (connects) connection.open();
  return connection;
}

Connection& Server::Call::begin_again() {
  lease_->close();
  enter();
  lease_->begin(deadline_, Check::nothing);
  lease_->open();
  return *lease_;
}

// --- Outcomes ---

Server::Call::~Call() {
  if (admitted_) went_well();
}

void Server::Call::went_well() noexcept {
  admitted_ = false;
  if (ticket_) server_.record_.connected();
  if (lease_->reported_no_memory()) [[unlikely]]
    return server_.note_no_memory();
  if (server_.is_calm()) [[likely]]
    return;
  server_.note_success(purpose_);
}

void Server::Call::failed(const BackendError& error) noexcept {
  if (!admitted_) return;                             // the server was not called
  if (lease_->met_large_value()) return went_well();  // not the server's failure
  admitted_ = false;
  if (ticket_) note_ticket(error);
  if (!may_not_connect_) server_.record_.remember(error);  // else it repeats the last failure
  if (lease_->reported_no_memory()) return server_.note_no_memory();
  server_.note_failure(purpose_, error.kind());
}

// A server that refuses writes has accepted the connection.
void Server::Call::note_ticket(const BackendError& error) noexcept {
  const bool let_in = lease_->is_open() || error.kind() == Kind::read_only;
  if (let_in) {
    server_.record_.connected();
  } else {
    server_.record_.connect_failed(*ticket_, error.kind());
  }
}

void Server::note_success(Purpose purpose) noexcept {
  report_change_of_server(record_.breaker().succeeded(Access::read));
  if (waits_with_writes(purpose)) report_change_of_writes(writes_.succeeded(Access::read));
}

void Server::note_no_memory() noexcept {
  no_memory_.store(true, std::memory_order_relaxed);
  report_change_of_server(record_.breaker().succeeded(Access::read));
  report_change_of_writes(writes_.failed(Access::read, Kind::overloaded));
}

void Server::note_failure(Purpose purpose, Kind kind) noexcept {
  const bool is_down = kind == Kind::unreachable || kind == Kind::timeout || kind == Kind::protocol;
  if (kind == Kind::denied) {  // it did answer
    note_success(Purpose::read);
  } else if (is_down || is_read(purpose)) {
    report_change_of_server(record_.breaker().failed(Access::read, kind));
    // If this was the probe for writes, it failed, too.
    if (is_read(purpose) || writes_.state(Access::read) == State::closed) return;
    report_change_of_writes(writes_.failed(Access::read, kind));
  } else {
    no_memory_.store(false, std::memory_order_relaxed);
    report_change_of_server(record_.breaker().succeeded(Access::read));
    report_change_of_writes(writes_.failed(Access::read, kind));
  }
}

void Server::report_change_of_server(CircuitBreaker::Change change) noexcept {
  if (change == CircuitBreaker::Change::none) [[likely]]
    return;
  const bool opened = change == CircuitBreaker::Change::opened;
  report_change(change, opened ? "keeps failing and is not used for now" : "is used again",
                breaker());
}

void Server::report_change_of_writes(CircuitBreaker::Change change) noexcept {
  if (change == CircuitBreaker::Change::none) [[likely]]
    return;
  const bool opened = change == CircuitBreaker::Change::opened;
  report_change(change, opened ? "refuses writes; none are sent for now" : "accepts writes again",
                writes_);
}

void Server::report_change(CircuitBreaker::Change change, std::string_view what,
                           const CircuitBreaker& breaker) noexcept {
  if (!report_) return;
  try {
    std::string message = "The redis server " + name() + " " + std::string(what);
    const bool opened = change == CircuitBreaker::Change::opened;
    if (opened) message += ", next attempt in " + milliseconds(breaker.pause_left(Access::read));
    const std::string last = opened ? record_.last_failure() : std::string();
    message += last.empty() ? "." : ". Last failure: " + last + ".";
    report_({.kind = opened ? Warning::Kind::breaker_opened : Warning::Kind::breaker_closed,
             .message = message});
  } catch (const std::bad_alloc&) {  // the warning is lost, nothing else
  }
}

// --- Apart from operations ---

void Server::check(std::size_t& hint, Deadline deadline,
                   FunctionRef<void(const HealthExtension::Server&)> sink) noexcept {
  HealthExtension::Server found{
      .name = name(),
      .breaker = std::max(breaker().state(Access::read), writes_.state(Access::read))};
  std::string problem;
  try {
    const Pool::Lease lease = pool_.take(hint, deadline);
    if (lease) {
      lease->begin(deadline, Check::alive);
      if (!lease->is_open()) lease->open();
      const auto begin = std::chrono::steady_clock::now();
      problem = lease->ping();
      found.round_trip = std::chrono::steady_clock::now() - begin;
    } else {
      problem = "all connections are in use; raise the option max_connections";
    }
  } catch (const std::exception& error) {
    problem = error.what();
  }
  found.reachable = problem.empty();
  found.error = problem;
  sink(found);
}

bool Server::has(Feature feature) const noexcept {
  return !lacking_.at(static_cast<std::size_t>(feature)).load(std::memory_order_relaxed);
}

// No warning if the server is merely too old for the command.
void Server::use_fallback_for(Feature feature, std::string_view error) {
  if (lacking_.at(static_cast<std::size_t>(feature)).exchange(true)) return;
  if (!error.starts_with("NOPERM") || !report_) return;
  const auto [command, instead] = substitute_for(feature);
  report_({.message = "The redis server " + name() + " denies " + std::string(command) + ": " +
                      std::string(instead) + ". Allow it in the server's access rules."});
}

}  // namespace polycache::redis
