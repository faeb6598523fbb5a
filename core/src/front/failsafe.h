// How an alias gets on without its store: when to leave it alone (a circuit breaker, where the
// store has none of its own), and what is said about it: the first failure of each kind at
// once, then one sum a minute, and that it is over.
//
// As long as nothing fails an operation reads one flag.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "polycache/author/backend.h"
#include "polycache/author/clock.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"

namespace polycache {

// Thread-safe.
class Failsafe {
 public:
  // What an operation's end brought with it that somebody should hear of.
  struct News {
    CircuitBreaker::Change breaker = CircuitBreaker::Change::none;
    std::uint64_t failures = 0;    // to be told now: this one and those not told before
    std::chrono::seconds since{};  // ... within this time
    std::string what;              // ... the latest of them
    bool recovered = false;
    std::uint64_t went_without = 0;  // if recovered: operations that failed and were not told
  };

  // `clock` must outlive it, and so must what the traits point to.
  Failsafe(const Clock& clock, const StoreTraits& traits) noexcept
      : clock_(clock), traits_(traits), own_(clock) {}

  // Whether there is anything to ask or to note.
  bool troubled() const noexcept { return troubled_.load(std::memory_order_relaxed); }

  // Whether the store may be called, as far as is known here. Costs no system call.
  bool admit(Access access) noexcept;
  // ... or whether the store has to be asked, too.
  bool store_breaks_circuits() const noexcept { return traits_.breaks_circuits; }
  // It was not called.
  void note_refusal() noexcept { refused_.fetch_add(1, std::memory_order_relaxed); }

  // `thrown`: the caller gets the error, and need not be told beside.
  News note_failure(Access access, const BackendError& error, bool thrown);
  // `is_whole`: the store keeps back no other call. As long as it does, one server's success
  // does not mean that the store is up again.
  News note_success(Access access, bool is_whole);

  CircuitBreaker::State breaker_state(Access access) const noexcept;
  std::chrono::milliseconds pause_left(Access access) const noexcept;

  // What the latest failure said; empty if there was none.
  std::string last_error() const;

 private:
  // Of one sort of failure.
  struct Told {
    std::optional<std::chrono::steady_clock::time_point> last;
    std::uint64_t untold = 0;
  };

  const Clock& clock_;
  const StoreTraits traits_;
  std::atomic<bool> troubled_{false};
  std::atomic<std::uint64_t> refused_{0};  // by a breaker, and not told of
  // What failed at last. A server that takes no writes is not up again because it was read.
  std::atomic<unsigned> down_{0};
  // When failures that were not told yet are to be summed up: nanoseconds; 0: there are none.
  std::atomic<std::int64_t> sum_due_{0};
  CircuitBreaker own_;

  News sum_up(std::chrono::steady_clock::time_point now);

  // Guarded by the cold mutex.
  std::array<Told, 8> told_;   // by BackendError::Kind
  Told thrown_;                // of whatever kind
  bool recovery_due_ = false;  // a failure was told of, and its end not yet
  std::string last_error_;
};

}  // namespace polycache
