// The clocks that stores use.
//
// There are two, for two purposes. A deadline kept in this process uses steady_now(), which never
// jumps and continues while the machine sleeps. A deadline that outlives the process or is shared
// with others (a database row) uses system_now().
//
// Implementations must be thread-safe. Tests use ManualClock
// (polycache/testing/manual_clock.h) and never sleep.

#pragma once

#include <chrono>
#include <cstdint>

#include "polycache/detail/export.h"

namespace polycache {

class POLYCACHE_API Clock {
 public:
  Clock() noexcept;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock();

  // A number that no other clock of this process has or had. Data whose times come from one clock
  // must not be shared with users of another: make this number part of the id of anything with
  // deadlines that lives in BackendContext::process_wide.
  std::uint64_t identity() const noexcept { return identity_; }

  // The real clock counts from boot (CLOCK_BOOTTIME); only differences are meaningful.
  virtual std::chrono::steady_clock::time_point steady_now() const noexcept = 0;
  virtual std::chrono::system_clock::time_point system_now() const noexcept = 0;

  // The machine's clocks. Lives forever.
  static const Clock& real() noexcept;

 private:
  std::uint64_t identity_;
};

}  // namespace polycache
