#include "deadline_clock.h"

#include <algorithm>
#include <chrono>
#include <ctime>

namespace polycache::locmem {
namespace {

using Nanoseconds = DeadlineClock::Nanoseconds;

constexpr Nanoseconds nanoseconds_per_millisecond = 1'000'000;
constexpr Nanoseconds nanoseconds_per_second = 1'000'000'000;

Nanoseconds nanoseconds(const timespec& time) noexcept {
  return time.tv_sec * nanoseconds_per_second + time.tv_nsec;
}

// Only the machine's own clock advances with the kernel's coarse one.
Nanoseconds usable_tick(const Clock& clock) noexcept {
  timespec resolution{};
  if (&clock != &Clock::real() || clock_getres(CLOCK_MONOTONIC_COARSE, &resolution) != 0) return 0;
  const Nanoseconds tick = nanoseconds(resolution);
  return tick <= 10 * nanoseconds_per_millisecond ? tick : 0;
}

}  // namespace

DeadlineClock::DeadlineClock(const Clock& clock) noexcept
    : clock_(clock), tick_(usable_tick(clock)) {}

Nanoseconds DeadlineClock::recent() const noexcept {
  if (tick_ == 0) return now();
  timespec coarse{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &coarse);
  const Nanoseconds tick = nanoseconds(coarse);
  if (ticked_.load(std::memory_order_acquire) == tick) {
    return exact_.load(std::memory_order_relaxed);
  }
  const Nanoseconds exact = now();
  // Only forward: another thread may have stored a later time.
  Nanoseconds latest = exact_.load(std::memory_order_relaxed);
  while (latest < exact &&
         !exact_.compare_exchange_weak(latest, exact, std::memory_order_relaxed)) {
  }
  ticked_.store(tick, std::memory_order_release);
  return exact;
}

bool DeadlineClock::is_live_now(Nanoseconds deadline) const noexcept {
  const Nanoseconds known = recent();
  if (deadline <= known) return false;
  return deadline > known + 2 * tick_ || now() < deadline;
}

Nanoseconds DeadlineClock::deadline(Nanoseconds now, Ttl ttl) noexcept {
  if (ttl.is_forever()) return no_deadline;
  const auto life = ttl.value().count();
  if (life >= (no_deadline - now) / nanoseconds_per_millisecond) return no_deadline;
  return now + life * nanoseconds_per_millisecond;
}

Ttl DeadlineClock::left(Nanoseconds deadline) const noexcept {
  if (deadline == no_deadline) return Ttl::forever();
  const std::chrono::nanoseconds left(std::max<Nanoseconds>(deadline - now(), 1));
  return Ttl(std::chrono::ceil<std::chrono::milliseconds>(left));
}

}  // namespace polycache::locmem
