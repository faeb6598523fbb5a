#include "polycache/net/circuit_breaker.h"

#include <algorithm>
#include <mutex>

#include "base/cold_mutex.h"

namespace polycache {
namespace {

using Kind = BackendError::Kind;

std::uint64_t seed_of(const void* object, const Clock& clock) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(object);
  const auto ticks = static_cast<std::uint64_t>(clock.system_now().time_since_epoch().count());
  return (address ^ ticks) * 0x9E3779B97F4A7C15U;
}

// Its address identifies the thread.
constinit thread_local char this_thread = 0;

std::int64_t nanoseconds(std::chrono::nanoseconds duration) noexcept { return duration.count(); }

// The server sent no reply, or a malformed one.
bool is_about_server(Kind kind) noexcept {
  return kind == Kind::unreachable || kind == Kind::timeout || kind == Kind::protocol;
}

}  // namespace

CircuitBreaker::Circuit::Circuit(const Settings& settings, std::uint64_t seed) noexcept
    : pauses(settings.first_pause, settings.longest_pause, seed) {}

CircuitBreaker::CircuitBreaker(const Clock& clock, const Settings& settings) noexcept
    : clock_(clock),
      settings_(settings),
      server_(settings, seed_of(&server_, clock)),
      writes_(settings, seed_of(&writes_, clock)) {}

CircuitBreaker::~CircuitBreaker() = default;

std::int64_t CircuitBreaker::now() const noexcept {
  return nanoseconds(clock_.steady_now().time_since_epoch());
}

bool CircuitBreaker::refuses(const Circuit& circuit, std::int64_t now) noexcept {
  return circuit.state.load(std::memory_order_relaxed) != State::closed &&
         now < circuit.until.load(std::memory_order_relaxed);
}

bool CircuitBreaker::refuses_in_trouble(Access access) const noexcept {
  const std::int64_t moment = now();
  return refuses(server_, moment) || (access == Access::write && refuses(writes_, moment));
}

bool CircuitBreaker::admit_in_trouble(Access access) noexcept {
  const std::int64_t moment = now();
  if (refuses(server_, moment)) return false;
  if (access == Access::read) return admit(server_, moment);
  // Does not take the right to one probe if the other circuit refuses.
  return !refuses(writes_, moment) && admit(server_, moment) && admit(writes_, moment);
}

bool CircuitBreaker::admit(Circuit& circuit, std::int64_t now) noexcept {
  if (circuit.state.load(std::memory_order_relaxed) == State::closed) return true;
  const std::lock_guard lock(cold_mutex());
  if (circuit.state.load(std::memory_order_relaxed) == State::closed) return true;
  if (refuses(circuit, now)) return false;
  circuit.state.store(State::half_open, std::memory_order_relaxed);
  circuit.prober.store(&this_thread, std::memory_order_relaxed);
  circuit.until.store(now + nanoseconds(settings_.longest_pause), std::memory_order_relaxed);
  return true;
}

CircuitBreaker::Change CircuitBreaker::note_success(Access access) noexcept {
  const std::int64_t moment = now();
  Change change = succeed(server_, moment);
  if (access == Access::write) change = std::max(change, succeed(writes_, moment));
  return change;
}

CircuitBreaker::Change CircuitBreaker::succeed(Circuit& circuit, std::int64_t now) noexcept {
  const State state = circuit.state.load(std::memory_order_relaxed);
  if (state == State::open) return Change::none;  // result of a call made before it opened
  if (state == State::closed) {
    circuit.calls.fetch_add(1, std::memory_order_relaxed);
    if (circuit.in_a_row.load(std::memory_order_relaxed) != 0) {
      circuit.in_a_row.store(0, std::memory_order_relaxed);
    }
    if (is_over(server_, now) && is_over(writes_, now)) calm_down(now);
    return Change::none;
  }
  const std::lock_guard lock(cold_mutex());
  if (!is_mine(circuit)) return Change::none;
  circuit.pauses.reset();
  circuit.in_a_row.store(0, std::memory_order_relaxed);
  begin_window(circuit, now);
  circuit.state.store(State::closed, std::memory_order_relaxed);
  return Change::closed;
}

// REQUIRES: the mutex
bool CircuitBreaker::is_mine(const Circuit& circuit) noexcept {
  return circuit.state.load(std::memory_order_relaxed) == State::half_open &&
         circuit.prober.load(std::memory_order_relaxed) == &this_thread;
}

bool CircuitBreaker::is_over(const Circuit& circuit, std::int64_t now) noexcept {
  return circuit.state.load(std::memory_order_relaxed) == State::closed &&
         now >= circuit.until.load(std::memory_order_relaxed);
}

void CircuitBreaker::calm_down(std::int64_t now) noexcept {
  const std::lock_guard lock(cold_mutex());
  if (is_over(server_, now) && is_over(writes_, now)) calm_.store(true, std::memory_order_relaxed);
}

void CircuitBreaker::begin_window(Circuit& circuit, std::int64_t now) const noexcept {
  circuit.calls.store(0, std::memory_order_relaxed);
  circuit.failures.store(0, std::memory_order_relaxed);
  circuit.until.store(now + nanoseconds(settings_.window), std::memory_order_relaxed);
}

CircuitBreaker::Change CircuitBreaker::failed(Access access, Kind kind) noexcept {
  if (kind == Kind::denied || kind == Kind::unsupported) return succeeded(access);  // a reply
  const std::int64_t moment = now();
  if (is_about_server(kind) || access == Access::read) {
    const Change of_server = fail(server_, moment);
    // A probe of writes that did not reach the server is over, too.
    if (access == Access::write &&
        writes_.state.load(std::memory_order_relaxed) == State::half_open)
      fail(writes_, moment);
    return of_server;
  }
  const Change of_server = calm() ? Change::none : succeed(server_, moment);
  const Change of_writes = fail(writes_, moment);
  return of_writes == Change::none ? of_server : of_writes;
}

CircuitBreaker::Change CircuitBreaker::fail(Circuit& circuit, std::int64_t now) noexcept {
  const std::lock_guard lock(cold_mutex());
  switch (circuit.state.load(std::memory_order_relaxed)) {
    case State::open:  // a call made before it opened
      return Change::none;
    case State::half_open:
      if (is_mine(circuit)) open(circuit, now);
      return Change::none;
    case State::closed:
      break;
  }
  if (calm() || now >= circuit.until.load(std::memory_order_relaxed)) {
    if (calm()) circuit.in_a_row.store(0, std::memory_order_relaxed);
    begin_window(circuit, now);
    calm_.store(false, std::memory_order_relaxed);
  }
  const int in_a_row = circuit.in_a_row.fetch_add(1, std::memory_order_relaxed) + 1;
  const int calls = circuit.calls.fetch_add(1, std::memory_order_relaxed) + 1;
  const int failures = circuit.failures.fetch_add(1, std::memory_order_relaxed) + 1;
  if (in_a_row < settings_.failures_in_a_row &&
      (calls < settings_.window_calls || 2 * failures < calls)) {
    return Change::none;
  }
  open(circuit, now);
  return Change::opened;
}

void CircuitBreaker::open(Circuit& circuit, std::int64_t now) noexcept {
  circuit.until.store(now + nanoseconds(circuit.pauses.next(static_cast<std::uint64_t>(now))),
                      std::memory_order_relaxed);
  circuit.state.store(State::open, std::memory_order_relaxed);
}

CircuitBreaker::State CircuitBreaker::state(Access access) const noexcept {
  const State server = server_.state.load(std::memory_order_relaxed);
  if (access == Access::read) return server;
  return std::max(server, writes_.state.load(std::memory_order_relaxed));
}

std::chrono::milliseconds CircuitBreaker::pause_left(Access access) const noexcept {
  if (calm()) return std::chrono::milliseconds::zero();
  const std::int64_t moment = now();
  std::int64_t left = 0;
  const auto look = [&](const Circuit& circuit) {
    if (refuses(circuit, moment)) {
      left = std::max(left, circuit.until.load(std::memory_order_relaxed) - moment);
    }
  };
  look(server_);
  if (access == Access::write) look(writes_);
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(left));
}

std::string_view to_string(CircuitBreaker::State state) noexcept {
  switch (state) {
    case CircuitBreaker::State::closed:
      return "closed";
    case CircuitBreaker::State::half_open:
      return "half_open";
    case CircuitBreaker::State::open:
      return "open";
  }
  return "unknown";
}

}  // namespace polycache
