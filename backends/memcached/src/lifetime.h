// Lifetimes as memcached gets them.
//
// The server knows whole seconds only, its seconds begin when it likes, and it does not tell
// what is left of an item's life. So the deadline is written into the item's 32 flag bits, in
// unix seconds, rounded up: there it can be read, kept over a compare-and-swap, and judged by
// one comparison. The server's own expiry is set so that it never comes before that.
//
// Never early: an entry's deadline is the moment asked for, rounded up to a whole second of
// the clock that the alias was given, and a reader calls it expired from then on, by its own
// clock. With clocks that agree, an entry thus lives less than a second longer than asked.

#pragma once

#include <chrono>
#include <cstdint>

#include "polycache/author/backend.h"

namespace polycache::memcached {

// By the clock that the alias was given.
using Moment = std::chrono::system_clock::time_point;

// As it is sent with an item.
struct Lifetime {
  std::uint32_t flags;
  std::int64_t expiration;  // 0: none; up to 30 days: in so many seconds; else a unix time
};

// An item with this expiration is gone at once: an absolute time in January 1970.
inline constexpr std::int64_t kGoneAtOnce = 30LL * 24 * 3600 + 1;

// For an entry that is stored now. Beyond the year 2106 it becomes for ever.
Lifetime lifetime_for(Ttl ttl, Moment now) noexcept;

// For an entry that is written again and keeps its lifetime; `flags` are what it bears. One of
// unknown lifetime (somebody else's) keeps its flags and gets no expiration: memcached tells
// nobody what it was.
Lifetime lifetime_kept(std::uint32_t flags, Moment now) noexcept;

bool has_expired(std::uint32_t flags, Moment now) noexcept;

// What is left; for ever if it is unknown. REQUIRES: !has_expired(flags, now)
Ttl time_left(std::uint32_t flags, Moment now) noexcept;

}  // namespace polycache::memcached
