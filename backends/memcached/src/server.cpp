#include "server.h"

#include <exception>
#include <memory>
#include <optional>

namespace polycache::memcached {
namespace {

std::string milliseconds(std::chrono::milliseconds time) {
  return std::to_string(time.count()) + " ms";
}

}  // namespace

Server::Server(const Endpoint& endpoint, const Settings& settings, const Clock& clock,
               const std::function<void(const Warning&)>& report)
    : report_(report),
      max_connections_(settings.pool.max_connections),
      record_(endpoint.name(), clock, settings.timeout),
      pool_(settings.pool, clock,
            [this, &endpoint, &settings] { return make_connection(endpoint, settings, record_); }) {
}

// --- Admission ---

Server::Pool::Lease Server::take(std::size_t& hint, net::Deadline deadline, AfterFailure after) {
  Pool::Lease lease = pool_.take(hint, net::Deadline{});
  if (!lease) [[unlikely]]
    lease = wait_for_one(hint, deadline);
  lease->begin(deadline, after);
  return lease;
}

Server::Pool::Lease Server::wait_for_one(std::size_t& hint, net::Deadline deadline) {
  Pool::Lease lease = pool_.take(hint, deadline);
  if (!lease) {
    throw BackendError(BackendError::Kind::overloaded, name(),
                       "all " + std::to_string(max_connections_) +
                           " connections were in use until the time was over; raise "
                           "\"max_connections\", or look why the server is slow");
  }
  return lease;
}

// Takes the probe last, when nothing else can prevent it.
Server::Pool::Lease Server::enter(std::size_t& hint, Access access, net::Deadline deadline) {
  CircuitBreaker& breaker = record_.breaker();
  if (breaker.refuses(access)) [[unlikely]]
    throw_refusal(access);
  Pool::Lease lease = take(hint, deadline, AfterFailure::pause);
  if (lease->is_open()) [[likely]] {
    if (!breaker.admit(access)) [[unlikely]]
      throw_refusal(access);
    return lease;
  }
  // A probe may connect at any time, since probes are rare.
  const bool probing = breaker.state(access) != CircuitBreaker::State::closed;
  const auto ticket = probing ? record_.pace().current() : record_.pace().enter();
  if (!ticket) throw_not_yet();
  if (!breaker.admit(access)) {
    if (!probing) record_.pace().leave(*ticket);
    throw_refusal(access);
  }
  return lease;
}

std::string Server::last_failure() const {
  const std::string last = record_.last_failure();
  return last.empty() ? std::string() : "; last failure: " + last;
}

void Server::throw_refusal(Access access) const {
  throw BackendError(BackendError::Kind::unreachable, name(),
                     "not asked, since it keeps failing (circuit breaker open, next attempt in " +
                         milliseconds(breaker().pause_left(access)) + ")" + last_failure());
}

void Server::throw_not_yet() const {
  throw BackendError(record_.kind_of_pause(), name(),
                     "no new connection so soon after a failure (next attempt in " +
                         milliseconds(record_.pace().pause_left()) + ")" + last_failure());
}

// --- Outcomes ---

void Server::failed(Access access, const BackendError& error) {
  record_.remember(error);
  if (record_.breaker().failed(access, error.kind()) != CircuitBreaker::Change::opened) return;
  const std::string message = "memcached server " + name() +
                              " keeps failing and is not used for now; next attempt in " +
                              milliseconds(breaker().pause_left(access)) +
                              "; last failure: " + std::string(net::reason_of(error));
  report_({.kind = Warning::Kind::breaker_opened, .message = message});
}

void Server::tell_closed() noexcept {
  try {
    const std::string message = "memcached server " + name() + " is used again";
    report_({.kind = Warning::Kind::breaker_closed, .message = message});
  } catch (const std::exception&) {  // no memory for the message
  }
}

// --- Apart from operations ---

void Server::check(std::size_t& hint, net::Deadline deadline,
                   FunctionRef<void(const HealthExtension::Server&)> sink) {
  HealthExtension::Server found{.name = name()};
  std::string problem;
  try {
    const Pool::Lease lease = take(hint, deadline, AfterFailure::go_on);
    found.round_trip = lease->ping();
    found.reachable = true;
  } catch (const BackendError& error) {
    problem = error.what();
    found.error = problem;
  }
  found.breaker = breaker().state(Access::write);
  sink(found);
}

}  // namespace polycache::memcached
