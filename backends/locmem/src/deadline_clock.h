// Deadlines of entries, in nanoseconds of Clock::steady_now().
//
// Reading the exact time costs as much as the rest of a lookup. The last exact time is therefore
// stored together with the kernel's coarse clock, which costs a quarter: until that clock ticks,
// the stored time is at most one tick old, which suffices for entries that end later than that.

#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "polycache/author/backend.h"
#include "polycache/author/clock.h"

namespace polycache::locmem {

// Thread-safe.
class DeadlineClock {
 public:
  using Nanoseconds = std::int64_t;
  static constexpr Nanoseconds no_deadline = std::numeric_limits<Nanoseconds>::max();

  explicit DeadlineClock(const Clock& clock) noexcept;

  Nanoseconds now() const noexcept { return clock_.steady_now().time_since_epoch().count(); }

  // A time in the recent past.
  Nanoseconds recent() const noexcept;

  // Never false too early and, if the coarse clock ticks regularly, never true too late.
  bool is_live(Nanoseconds deadline) const noexcept {
    return deadline == no_deadline || is_live_now(deadline);
  }
  // The same for a caller that has read horizon() a moment ago: a later deadline is live, without
  // any other check.
  bool is_live(Nanoseconds deadline, Nanoseconds horizon) const noexcept {
    return deadline > horizon || is_live(deadline);
  }
  // Deadlines within two ticks require the exact time.
  Nanoseconds horizon() const noexcept { return recent() + 2 * tick_; }

  // The deadline of an entry written `now`; no_deadline if it is not representable.
  static Nanoseconds deadline(Nanoseconds now, Ttl ttl) noexcept;

  // The remaining lifetime of a live entry: at least a millisecond.
  Ttl left(Nanoseconds deadline) const noexcept;

 private:
  bool is_live_now(Nanoseconds deadline) const noexcept;

  const Clock& clock_;
  const Nanoseconds tick_;  // of the coarse clock; 0: do not use it

  // exact_ was read in the tick that began at ticked_. Written in this order with release, read in
  // reverse with acquire: a thread that sees a tick sees a time from that tick or a later one,
  // which has passed as well.
  mutable std::atomic<Nanoseconds> exact_{0};
  mutable std::atomic<Nanoseconds> ticked_{-1};
};

}  // namespace polycache::locmem
