#include "server.h"

#include <chrono>
#include <memory>
#include <utility>

#include "command.h"
#include "polycache/error.h"
#include "polycache/text.h"

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
  }
  return {};
}

}  // namespace

Server::Server(const Endpoint& endpoint, const Limits& limits, const PoolLimits& pool_limits,
               const Clock& clock, std::function<void(const Warning&)> report)
    : endpoint_(endpoint),
      limits_(limits),
      pool_limits_(pool_limits),
      name_(endpoint.name()),
      report_(std::move(report)),
      breaker_(clock),
      pace_(clock, limits.operation),
      pool_(pool_limits, clock,
            [this] { return std::make_unique<Connection>(endpoint_, limits_, name_); }) {}

// --- Who is let through ---

Access Server::access_for(Purpose purpose) const noexcept {
  if (purpose == Purpose::read) return Access::read;
  const bool harmless = purpose == Purpose::erase && no_memory_.load(std::memory_order_relaxed);
  return harmless ? Access::read : Access::write;
}

bool Server::refuses(Purpose purpose) const noexcept {
  return !breaker_.calm() && breaker_.refuses(access_for(purpose));
}

bool Server::is_full() const noexcept {
  return !breaker_.calm() && no_memory_.load(std::memory_order_relaxed) &&
         breaker_.refuses(Access::write) && !breaker_.refuses(Access::read);
}

void Server::throw_refusal(Purpose purpose) const {
  const Access access = access_for(purpose);
  const bool takes_reads = access == Access::write && !breaker_.refuses(Access::read);
  const std::string last = last_failure();
  throw BackendError(takes_reads ? Kind::overloaded : Kind::unreachable, name_,
                     std::string(takes_reads ? "it takes no writes and is not asked for more"
                                             : "it keeps failing and is not asked") +
                         " (circuit breaker open, next try in " +
                         milliseconds(breaker_.pause_left(access)) + ")" +
                         (last.empty() ? "" : "; the last failure: " + last));
}

void Server::throw_not_yet() const {
  const std::string last = last_failure();
  throw BackendError(denied_.load(std::memory_order_relaxed) ? Kind::denied : Kind::unreachable,
                     name_,
                     "it let nobody in, next try in " + milliseconds(pace_.pause_left()) +
                         (last.empty() ? "" : "; the last failure: " + last));
}

Server::Call::Call(Server& server, std::size_t& hint, Purpose purpose, Deadline deadline)
    : server_(server),
      purpose_(purpose),
      deadline_(deadline),
      lease_(server.refuses(purpose) ? Pool::Lease() : server.pool_.take(hint, deadline)) {
  if (lease_) [[likely]]
    return;
  if (server.refuses(purpose)) server.throw_refusal(purpose);
  throw BackendError(Kind::overloaded, server.name_,
                     "all " + std::to_string(server.pool_limits_.max_connections) +
                         " connections were in use until the limit of " +
                         milliseconds(server.limits_.operation) +
                         "; raise the option max_connections");
}

void Server::Call::enter() {
  ticket_ = server_.pace_.enter();
  if (!ticket_) server_.throw_not_yet();
}

Connection& Server::Call::begin(Check check) {
  Connection& connection = *lease_;
  connection.begin(deadline_, check);
  const bool connects = !connection.is_open();
  if (connects) enter();
  if (!server_.breaker_.admit(server_.access_for(purpose_))) {
    if (connects) server_.pace_.leave(*ticket_);
    server_.throw_refusal(purpose_);
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

// --- How it went ---

Server::Call::~Call() {
  if (admitted_) went_well();
}

void Server::Call::went_well() noexcept {
  admitted_ = false;
  if (ticket_) {
    server_.pace_.succeeded();
    server_.denied_.store(false, std::memory_order_relaxed);
  }
  if (lease_->told_of_no_memory()) [[unlikely]] {
    server_.no_memory_.store(true, std::memory_order_relaxed);
    return server_.tell(server_.breaker_.failed(Access::write, Kind::overloaded));
  }
  if (server_.breaker_.calm()) [[likely]]
    return;
  server_.tell(server_.breaker_.succeeded(server_.access_for(purpose_)));
}

void Server::Call::failed(const BackendError& error) noexcept {
  if (!admitted_) return;                             // it was not asked
  if (lease_->met_large_value()) return went_well();  // it did nothing wrong
  admitted_ = false;
  if (ticket_) {
    // A server that takes no writes lets everybody in.
    const bool let_in = lease_->is_open() || error.kind() == Kind::read_only;
    server_.denied_.store(!let_in && error.kind() == Kind::denied, std::memory_order_relaxed);
    if (let_in) {
      server_.pace_.succeeded();
    } else {
      server_.pace_.failed(*ticket_);
    }
  }
  server_.remember(error);
  const bool no_memory = lease_->told_of_no_memory();
  if (purpose_ != Purpose::read) server_.no_memory_.store(no_memory, std::memory_order_relaxed);
  const Access access = purpose_ == Purpose::read ? Access::read : Access::write;
  server_.tell(server_.breaker_.failed(access, error.kind()));
}

void Server::remember(const BackendError& error) noexcept {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;
  try {
    std::string_view text = error.what();
    if (text.starts_with(name_ + ": ")) text.remove_prefix(name_.size() + 2);
    last_failure_ = text;
  } catch (const std::bad_alloc&) {  // then it keeps the older one
  }
}

std::string Server::last_failure() const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock ? last_failure_ : std::string();
}

void Server::tell(CircuitBreaker::Change change) noexcept {
  if (change == CircuitBreaker::Change::none || !report_) return;
  const bool opened = change == CircuitBreaker::Change::opened;
  const bool takes_reads = breaker_.state(Access::read) == State::closed;
  try {
    std::string message = "The redis server " + name_;
    if (!opened) {
      message += breaker_.state(Access::write) == State::closed
                     ? " is used again."
                     : " is read from again; writes are still held back.";
    } else {
      const std::string last = last_failure();
      message +=
          takes_reads ? " takes no writes; they are held back" : " keeps failing and is left alone";
      message += ", next try in " +
                 milliseconds(breaker_.pause_left(takes_reads ? Access::write : Access::read)) +
                 ".";
      if (!last.empty()) message += " The last failure: " + last + ".";
    }
    report_({.kind = opened ? Warning::Kind::breaker_opened : Warning::Kind::breaker_closed,
             .message = message});
  } catch (const std::bad_alloc&) {  // it works all the same
  }
}

// --- What is asked beside operations ---

void Server::check(std::size_t& hint, Deadline deadline,
                   FunctionRef<void(const HealthExtension::Server&)> sink) noexcept {
  HealthExtension::Server found{.name = name_, .breaker = breaker_.state(Access::write)};
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

// That a server is too old for a command is no news.
void Server::do_without(Feature feature, std::string_view error) {
  if (lacking_.at(static_cast<std::size_t>(feature)).exchange(true)) return;
  if (!error.starts_with("NOPERM") || !report_) return;
  const auto [command, instead] = substitute_for(feature);
  report_({.message = "The redis server " + name_ + " denies " + std::string(command) + ": " +
                      std::string(instead) + ". Allow it in the server's access rules."});
}

}  // namespace polycache::redis
