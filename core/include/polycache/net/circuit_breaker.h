// Stops calls to a server that is known to be down.
//
//   if (!breaker.admit(Access::read)) throw BackendError(...);  // at once, no system call
//   try {
//     ask_the_server();
//     breaker.succeeded(Access::read);
//   } catch (const BackendError& error) {
//     breaker.failed(Access::read, error.kind());
//     throw;
//   } catch (...) {  // whatever it is, the server did answer
//     breaker.succeeded(Access::read);
//     throw;
//   }
//
// It opens after several consecutive failures, or when half of the calls in a time window fail.
// While open, it refuses every call for a pause, then admits one, the probe: its success closes the
// breaker, its failure lengthens the next pause. (Nygard, "Release It!", 2007.)
//
// A server may answer yet refuse writes (out of memory, read-only, disk full). Such failures block
// writes only; reads continue.
//
// While nothing fails, each call costs one relaxed load. Thread-safe; usable in a fork's child.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "polycache/author/clock.h"
#include "polycache/detail/export.h"
#include "polycache/error.h"
#include "polycache/net/backoff.h"

namespace polycache {

// What a call does to the store. Erasing and counting are writes.
enum class Access : std::uint8_t { read, write };

class POLYCACHE_API CircuitBreaker {
 public:
  struct Settings {
    int failures_in_a_row = 5;  // this many consecutive failures open it
    int window_calls = 20;      // so does a failure rate of one half over at least this many calls
    std::chrono::milliseconds window{10'000};
    std::chrono::milliseconds first_pause{1'000};
    std::chrono::milliseconds longest_pause{30'000};
  };

  enum class State : std::uint8_t {
    closed,     // calls go through
    half_open,  // a probe is or may be in progress; all other calls are refused
    open,
  };
  // What succeeded() or failed() changed, for reporting.
  enum class Change : std::uint8_t { none, opened, closed };

  // `clock` must outlive it.
  explicit CircuitBreaker(const Clock& clock) noexcept : CircuitBreaker(clock, Settings()) {}
  CircuitBreaker(const Clock& clock, const Settings& settings) noexcept;
  CircuitBreaker(const CircuitBreaker&) = delete;
  CircuitBreaker& operator=(const CircuitBreaker&) = delete;
  ~CircuitBreaker();

  // Whether a call may be made. The caller then reports the call's result on the same thread. A
  // probe without a report for `longest_pause` counts as lost, and another call may become the
  // probe. While a probe is in progress, reports of other threads about earlier calls have no
  // effect.
  bool admit(Access access) noexcept {
    if (calm()) [[likely]]
      return true;
    return admit_in_trouble(access);
  }

  // Whether a call would be refused now; takes no right to probe. False if it would be a probe.
  bool refuses(Access access) const noexcept {
    if (calm()) [[likely]]
      return false;
    return refuses_in_trouble(access);
  }

  Change succeeded(Access access) noexcept {
    if (calm()) [[likely]]
      return Change::none;
    return note_success(access);
  }

  // Unreachable, timeout and protocol count against the server. So do other kinds on a read; on a
  // write they count against writes only. `denied` and `unsupported` count against neither, because
  // waiting does not help.
  Change failed(Access access, BackendError::Kind kind) noexcept;

  // Whether nothing has failed for a while.
  bool calm() const noexcept { return calm_.load(std::memory_order_relaxed); }

  State state(Access access) const noexcept;

  // Time until a refused call may be a probe; zero if nothing is refused.
  std::chrono::milliseconds pause_left(Access access) const noexcept;

 private:
  // One breaker; this class contains two.
  struct Circuit {
    Circuit(const Settings& settings, std::uint64_t seed) noexcept;

    std::atomic<State> state{State::closed};
    // Nanoseconds of the steady clock. Closed: the window's end. Open: when a probe may go.
    // Half-open: when the probe counts as lost.
    std::atomic<std::int64_t> until{0};
    std::atomic<const void*> prober{nullptr};  // half-open: the probing thread
    std::atomic<int> in_a_row{0};
    std::atomic<int> calls{0};
    std::atomic<int> failures{0};
    Backoff pauses;  // guarded, like all changes of state, by the library's mutex
  };

  bool admit_in_trouble(Access access) noexcept;
  bool refuses_in_trouble(Access access) const noexcept;
  Change note_success(Access access) noexcept;
  std::int64_t now() const noexcept;
  bool admit(Circuit& circuit, std::int64_t now) noexcept;
  static bool refuses(const Circuit& circuit, std::int64_t now) noexcept;
  Change succeed(Circuit& circuit, std::int64_t now) noexcept;
  static bool is_over(const Circuit& circuit, std::int64_t now) noexcept;
  void calm_down(std::int64_t now) noexcept;
  void begin_window(Circuit& circuit, std::int64_t now) const noexcept;
  static bool is_mine(const Circuit& circuit) noexcept;
  Change fail(Circuit& circuit, std::int64_t now) noexcept;
  void open(Circuit& circuit, std::int64_t now) noexcept;

  const Clock& clock_;
  const Settings settings_;
  std::atomic<bool> calm_{true};
  Circuit server_;  // consulted by every call
  Circuit writes_;  // consulted by writes, too
};

// "closed", "half_open", "open"; for logs and tests.
POLYCACHE_API std::string_view to_string(CircuitBreaker::State state) noexcept;

}  // namespace polycache
