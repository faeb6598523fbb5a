// How an alias works without its store: when to stop calling it (a circuit breaker, if the store
// has none of its own), and what to report: the first failure of each kind at once, then one sum
// per minute, and the recovery.
//
// While nothing fails, an operation reads one flag.

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
#include "polycache/author/function_ref.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/warning.h"

namespace polycache {

// Thread-safe.
class StoreRecord {
 public:
  // What to report at the end of an operation.
  struct News {
    CircuitBreaker::Change breaker = CircuitBreaker::Change::none;
    std::uint64_t failures = 0;    // to report now: this one and unreported ones before
    std::chrono::seconds since{};  // ... within this time
    std::string what;              // ... message of the latest one
    bool recovered = false;
    std::uint64_t unreported = 0;  // if recovered: failed operations in no report
  };

  // `clock` must outlive it, and so must what the traits point to.
  StoreRecord(const Clock& clock, const StoreTraits& traits) noexcept
      : clock_(clock), traits_(traits), own_(clock) {}

  // Whether there is anything to check or to record.
  bool troubled() const noexcept { return troubled_.load(std::memory_order_relaxed); }

  // Whether the store may be called, as far as is known here. Makes no system call.
  bool admit(Access access) noexcept;
  // Whether the store must be asked, too.
  bool store_breaks_circuits() const noexcept { return traits_.breaks_circuits; }
  // Records that the store was not called.
  void note_refusal() noexcept { refused_.fetch_add(1, std::memory_order_relaxed); }

  // `thrown`: the caller receives the exception, so no warning is needed.
  News note_failure(Access access, const BackendError& error, bool thrown);
  // What the store cannot do at all: no failure, and for the breaker a sign of life.
  News note_unsupported(Access access) noexcept;
  // `is_whole`: the store refuses no other call. Otherwise one server's success does not mean that
  // the store has recovered.
  News note_success(Access access, bool is_whole);

  CircuitBreaker::State breaker_state(Access access) const noexcept;
  std::chrono::milliseconds pause_left(Access access) const noexcept;

  // Message of the latest failure; empty if there was none.
  std::string last_error() const;

  // Warns of what there is to report. `operation` begins the sentence about failures, `key` is the
  // key of the operation that failed.
  void report(const News& news, std::string_view operation, std::string_view key,
              FunctionRef<void(const Warning&)> warn) const;

 private:
  // Reports of one kind of failure.
  struct Reports {
    std::optional<std::chrono::steady_clock::time_point> last;
    std::uint64_t unreported = 0;
  };

  const Clock& clock_;
  const StoreTraits traits_;
  std::atomic<bool> troubled_{false};
  std::atomic<std::uint64_t> refused_{0};  // by a breaker, and not reported
  // What is down. A successful read does not show that refused writes work again.
  std::atomic<unsigned> down_{0};
  // When to sum up unreported failures, in nanoseconds; 0 if there are none.
  std::atomic<std::int64_t> sum_due_{0};
  CircuitBreaker own_;

  News sum_up(std::chrono::steady_clock::time_point now);

  // Guarded by the cold mutex.
  std::array<Reports, 8> reports_;  // by BackendError::Kind
  Reports thrown_;                  // of any kind
  bool recovery_due_ = false;       // a failure was reported, its end not yet
  std::string last_error_;
};

}  // namespace polycache
