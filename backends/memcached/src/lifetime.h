// Lifetimes in memcached's terms.
//
// The server counts whole seconds only, its seconds begin at any moment, and it does not report an
// item's remaining lifetime. The deadline is therefore written into the item's 32 flag bits, in
// Unix seconds, rounded up: there it can be read, preserved by a compare-and-swap, and checked by
// one comparison. The server's own expiry is set so that it never comes earlier.
//
// Never early: an entry's deadline is the requested moment, rounded up to a whole second of the
// alias's clock, and a reader treats it as expired from then on, by its own clock. If the clocks
// agree, an entry thus lives less than a second longer than requested.

#pragma once

#include <chrono>
#include <cstdint>

#include "polycache/author/backend.h"

namespace polycache::memcached {

// By the clock of the alias.
using Moment = std::chrono::system_clock::time_point;

// As sent with an item.
struct Lifetime {
  std::uint32_t flags;
  std::int64_t expiration;  // 0: none; up to 30 days: relative, in seconds; else a Unix time
};

// An item with this expiration is gone at once: an absolute time in January 1970.
inline constexpr std::int64_t gone_at_once = 30LL * 24 * 3600 + 1;

// For an entry stored now. Beyond the year 2106 it becomes unlimited.
Lifetime lifetime_for(Ttl ttl, Moment now) noexcept;

// For an entry that is rewritten and keeps its lifetime; `flags` are its current ones. An item of
// unknown lifetime (from another program) keeps its flags and gets no expiration, since memcached
// does not report the old one.
Lifetime lifetime_kept(std::uint32_t flags, Moment now) noexcept;

bool has_expired(std::uint32_t flags, Moment now) noexcept;

// The remaining lifetime; unlimited if it is unknown. REQUIRES: !has_expired(flags, now)
Ttl time_left(std::uint32_t flags, Moment now) noexcept;

}  // namespace polycache::memcached
