#include "shared_server.h"

#include <exception>
#include <memory>

namespace polycache::memcached {
namespace {

// The message without the server's name, which comes first.
std::string_view reason_of(const BackendError& error) noexcept {
  std::string_view text = error.what();
  if (text.starts_with(error.server())) text.remove_prefix(error.server().size());
  if (text.starts_with(": ")) text.remove_prefix(2);
  return text;
}

}  // namespace

SharedServer::SharedServer(const ServerAddress& address, const Settings& settings,
                           const Clock& clock, const std::function<void(const Warning&)>& report)
    : address_(address),
      report_(report),
      max_connections_(settings.pool.max_connections),
      breaker_(clock),
      redial_(clock, settings.timeout),
      pool_(settings.pool, clock,
            [this, &settings] { return make_connection(address_, settings, redial_); }) {}

SharedServer::Lease SharedServer::take(std::size_t& hint, Term term, bool tells_redial) {
  Lease lease = pool_.take(hint, Instant{});
  if (!lease) [[unlikely]]
    lease = wait_for_one(hint, term);
  lease->begin(term, tells_redial);
  return lease;
}

SharedServer::Lease SharedServer::wait_for_one(std::size_t& hint, Term term) {
  Lease lease = pool_.take(hint, term.end);
  if (!lease) {
    throw BackendError(BackendError::Kind::overloaded, address_.name(),
                       "all " + std::to_string(max_connections_) +
                           " connections were in use until the time was over; raise "
                           "\"max_connections\", or look why the server is slow");
  }
  return lease;
}

// Takes the probe last, when nothing else can prevent it.
SharedServer::Lease SharedServer::enter(std::size_t& hint, Access access, Term term) {
  if (breaker_.refuses(access)) [[unlikely]]
    refuse(access);
  Lease lease = take(hint, term);
  if (!lease->is_open()) [[unlikely]] {
    // A probe may connect at any time, since probes are rare.
    const bool probing = breaker_.state(access) != CircuitBreaker::State::closed;
    if (!probing && !redial_.claim()) refuse_to_connect();
  }
  if (!breaker_.admit(access)) [[unlikely]]
    refuse(access);
  return lease;
}

void SharedServer::failed(Access access, const BackendError& error) {
  last_kind_.store(error.kind(), std::memory_order_relaxed);
  if (const std::unique_lock lock(mutex_, std::try_to_lock); lock) {
    last_failure_ = reason_of(error);
  }
  if (breaker_.failed(access, error.kind()) != CircuitBreaker::Change::opened) return;
  const std::string message = "memcached server " + address_.name() +
                              " keeps failing and is not used for now; next try in " +
                              std::to_string(breaker_.pause_left(access).count()) +
                              " ms; the last failure: " + std::string(reason_of(error));
  report_({.kind = Warning::Kind::breaker_opened, .message = message});
}

void SharedServer::tell_closed() noexcept {
  try {
    const std::string message = "memcached server " + address_.name() + " is used again";
    report_({.kind = Warning::Kind::breaker_closed, .message = message});
  } catch (const std::exception&) {  // no memory for the message
  }
}

std::string SharedServer::last_failure() const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock && !last_failure_.empty() ? "; the last failure: " + last_failure_ : std::string();
}

void SharedServer::refuse(Access access) const {
  throw BackendError(BackendError::Kind::unreachable, address_.name(),
                     "not asked, since it keeps failing (circuit breaker open, next try in " +
                         std::to_string(breaker_.pause_left(access).count()) + " ms)" +
                         last_failure());
}

void SharedServer::refuse_to_connect() const {
  const bool denied = last_kind_.load(std::memory_order_relaxed) == BackendError::Kind::denied;
  throw BackendError(denied ? BackendError::Kind::denied : BackendError::Kind::unreachable,
                     address_.name(),
                     "no new connection so soon after a failure (next try in " +
                         std::to_string(redial_.pause_left().count()) + " ms)" + last_failure());
}

}  // namespace polycache::memcached
