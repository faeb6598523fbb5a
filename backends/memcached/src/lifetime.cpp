#include "lifetime.h"

#include <algorithm>
#include <limits>

#include "polycache/author/clock.h"

namespace polycache::memcached {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t forever_flags = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t first_deadline = 1U << 30;  // January 2004; below: another program's
constexpr std::int64_t longest_relative = 30LL * 24 * 3600;
constexpr std::int64_t ms_per_second = 1000;

std::int64_t unix_millis(Moment now) noexcept {
  return std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count();
}

// Rounded up. REQUIRES: ms > 0
std::int64_t whole_seconds(std::int64_t ms) noexcept { return (ms - 1) / ms_per_second + 1; }

bool is_deadline(std::uint32_t flags) noexcept {
  return flags >= first_deadline && flags != forever_flags;
}

// One second more than the time left, since the server's first second may be short. The server
// treats values above 30 days as a moment of its own wall clock, which is independent of the
// injected clock, and reads 32 signed bits: beyond 2038 only the flags hold.
std::int64_t expiration_in(std::int64_t seconds_left) noexcept {
  const std::int64_t seconds = seconds_left + 1;
  if (seconds <= longest_relative) return seconds;
  const std::int64_t moment = unix_millis(Clock::real().system_now()) / ms_per_second + seconds + 1;
  return moment <= std::numeric_limits<std::int32_t>::max() ? moment : 0;
}

}  // namespace

Lifetime lifetime_for(Ttl ttl, Moment now) noexcept {
  const std::int64_t begin = std::max<std::int64_t>(unix_millis(now), 0);
  const std::int64_t room = static_cast<std::int64_t>(forever_flags - 1) * ms_per_second - begin;
  if (ttl.is_forever() || ttl.value().count() > room) return {forever_flags, 0};
  const std::int64_t deadline = whole_seconds(begin + ttl.value().count());
  const std::int64_t expiration = expiration_in(whole_seconds(deadline * ms_per_second - begin));
  // A deadline before 2004 cannot be stored in the flags; the server's expiry still holds.
  if (deadline < first_deadline) return {forever_flags, expiration};
  return {static_cast<std::uint32_t>(deadline), expiration};
}

Lifetime lifetime_kept(std::uint32_t flags, Moment now) noexcept {
  if (!is_deadline(flags)) return {flags, 0};
  const std::int64_t left = std::max<std::int64_t>(
      static_cast<std::int64_t>(flags) * ms_per_second - unix_millis(now), 1);
  return {flags, expiration_in(whole_seconds(left))};
}

bool has_expired(std::uint32_t flags, Moment now) noexcept {
  return is_deadline(flags) && unix_millis(now) >= static_cast<std::int64_t>(flags) * ms_per_second;
}

Ttl time_left(std::uint32_t flags, Moment now) noexcept {
  if (!is_deadline(flags)) return Ttl::forever();
  const std::int64_t left = static_cast<std::int64_t>(flags) * ms_per_second - unix_millis(now);
  return Ttl(milliseconds(std::max<std::int64_t>(left, 1)));
}

}  // namespace polycache::memcached
