// Parses what people write in configurations: durations, sizes, and misspelt words. Used by the
// core and by authors who have more to parse.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

// "250ms", "90s", "5m", "1h30m", "7d": numbers with the units ms, s, m, h, d, w. Each may have a
// fraction ("1.5h"); a minus sign in front negates the whole. A number alone is in seconds ("300").
// Rounded up to milliseconds, so that "0.4ms" is 1 ms. Empty if the text has another form or is
// beyond the range of milliseconds.
POLYCACHE_API std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

// "64MiB", "10kB", "512", "1.5GiB": units B, kB, MB, GB, TB (1000) and KiB, MiB, GiB, TiB (1024).
// Rounded up to bytes. Empty if the text has another form, is negative, or is beyond 2^63 - 1.
POLYCACHE_API std::optional<std::int64_t> parse_size(std::string_view text);

// The candidate that `word` most likely misspells, or empty if none is similar.
POLYCACHE_API std::optional<std::string_view> nearest(std::string_view word,
                                                      std::span<const std::string_view> candidates);

// The text in double quotes, with control characters, quotes and bytes that are not UTF-8 escaped,
// cut after about 80 characters. Messages show keys and values in this form.
POLYCACHE_API std::string quote(std::string_view text);

// Likewise, and never cut: a part of a path names another file.
POLYCACHE_API std::string quote_path(std::string_view path);

// Whether the whole text is a host: a name of letters, digits, '-' and '_' in labels of at most 63
// characters, an IPv4 address, or an IPv6 address without brackets ("fe80::1%eth0").
POLYCACHE_API bool is_host(std::string_view text) noexcept;

// Whether the text is the path of a unix socket as accepted in locations: it begins with exactly
// one '/' and has no blanks, control characters, quotes or any of ?#;,&=<>|\{}, which separate or
// assign in connection strings.
POLYCACHE_API bool is_socket_path(std::string_view text) noexcept;

// A location without user and password, for messages: "redis://user:secret@host/1?x=y" becomes
// "redis://host/1?...". Shows only parts that are certain: a host with its port, a path, a word.
// Everything else becomes "...", after the "scheme://" if there is one.
POLYCACHE_API std::string without_credentials(std::string_view location);

}  // namespace polycache
