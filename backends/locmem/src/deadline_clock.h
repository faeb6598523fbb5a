// When entries end. Deadlines are nanoseconds of Clock::steady_now().
//
// Asking the machine for the exact time costs as much as the rest of a lookup. So the exact
// time of the last question is remembered together with the kernel's coarse clock, which
// costs a quarter: while that one has not ticked, the remembered time is at most one tick
// old, and is good enough for entries that end later than that.

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
  static constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();

  explicit DeadlineClock(const Clock& clock) noexcept;

  Nanoseconds now() const noexcept { return clock_.steady_now().time_since_epoch().count(); }

  // A time that has passed, not long ago.
  Nanoseconds recent() const noexcept;

  // Never too early, and where the coarse clock ticks regularly, never too late.
  bool is_live(Nanoseconds deadline) const noexcept {
    return deadline == kNever || is_live_now(deadline);
  }
  // The same for who knows a horizon that was asked for a moment ago: what ends after it is
  // live, and nothing else has to be looked at.
  bool is_live(Nanoseconds deadline, Nanoseconds horizon) const noexcept {
    return deadline > horizon || is_live(deadline);
  }
  // Nearer than two ticks only the exact time tells.
  Nanoseconds horizon() const noexcept { return recent() + 2 * tick_; }

  // The deadline of an entry that is written `now`; kNever if it is beyond all counting.
  static Nanoseconds deadline(Nanoseconds now, Ttl ttl) noexcept;

  // What is left of a live entry: a millisecond at least.
  Ttl left(Nanoseconds deadline) const noexcept;

 private:
  bool is_live_now(Nanoseconds deadline) const noexcept;

  const Clock& clock_;
  const Nanoseconds tick_;  // of the coarse clock; 0: do not use it

  // The exact time was asked for in the tick that began at ticked_. Written in this order
  // with release, read in the other with acquire: who sees a tick sees a time from that
  // tick or a later one, which has passed as well.
  mutable std::atomic<Nanoseconds> exact_{0};
  mutable std::atomic<Nanoseconds> ticked_{-1};
};

}  // namespace polycache::locmem
