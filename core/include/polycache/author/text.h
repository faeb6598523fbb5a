// Reading what people write in configurations: durations, sizes, and words that are
// nearly right. Used by the core and by authors who have more to parse.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

// "250ms", "90s", "5m", "1h30m", "7d": numbers with the units ms, s, m, h, d, w, the first
// of which may bear a minus sign and have a fraction ("1.5h"). A number alone is seconds ("300").
// Rounded up to milliseconds, so that "0.4ms" is 1 ms. Empty if it is nothing of the kind or
// beyond the range of milliseconds.
POLYCACHE_API std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

// "64MiB", "10kB", "512", "1.5GiB": units B, kB, MB, GB, TB (1000) and KiB, MiB, GiB, TiB
// (1024). Rounded up to bytes. Empty if it is nothing of the kind, negative, or beyond 2^63 - 1.
POLYCACHE_API std::optional<std::int64_t> parse_size(std::string_view text);

// The candidate that `word` was most likely meant to be, or empty if none is near.
POLYCACHE_API std::optional<std::string_view> nearest(std::string_view word,
                                                      std::span<const std::string_view> candidates);

// The text in double quotes, with control characters, quotes and bytes that are no UTF-8
// escaped, cut after about 80 characters: what messages show of a key or a value.
POLYCACHE_API std::string quote(std::string_view text);

// Whether the text is a host and nothing else: a name of letters, digits, '-' and '_' in labels
// of at most 63, an IPv4 address, or an IPv6 address without its brackets ("fe80::1%eth0").
POLYCACHE_API bool is_host(std::string_view text) noexcept;

// Whether the text is the path of a unix socket as locations take it: it begins with one '/' and
// has no blanks, control characters, quotes or any of ?#;,&=<>|\{}, which separate or assign in
// connection strings.
POLYCACHE_API bool is_socket_path(std::string_view text) noexcept;

// A location without user and password: "redis://user:secret@host/1?x=y" becomes
// "redis://host/1?...". For messages. Shows only what is certain: a host with its port, a path,
// a word. Of everything else "..." is left, behind the "scheme://" if there is one.
POLYCACHE_API std::string without_credentials(std::string_view location);

}  // namespace polycache
