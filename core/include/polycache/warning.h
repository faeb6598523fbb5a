// Things that are not errors but that somebody should hear about.

#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

struct Warning {
  enum class Kind : unsigned char {
    key_too_long,
    key_bad_byte,
    key_custom,         // a backend's own validate_key()
    undecodable_value,  // read as a miss
    entry_damaged,      // read as a miss
    value_refused,      // too large, out of memory: not stored
    degraded,           // going on without the store
    recovered,          // ... and with it again
    breaker_opened,     // a store or server that keeps failing is left alone for a while
    breaker_closed,
    reload_failed,  // CacheRegistry::reload(): the old configuration stays
    other,
  };
  Kind kind = Kind::other;
  std::string_view alias = {};
  std::string_view key = {};      // empty if the warning is not about one key
  std::string_view message = {};  // a whole sentence, ready to print

  // How many events it stands for. Failures of a store are told at once the first time, then
  // counted and summed up once a minute, for each BackendError::Kind.
  std::uint64_t count = 1;
};

// "key_too_long" and so on; for logs and tests.
POLYCACHE_API std::string_view to_string(Warning::Kind kind) noexcept;

// Called on the thread that met the problem, never while a store is at work: it may use
// any cache, the one that warned included. May throw: the operation is then abandoned and
// the exception reaches the caller, so a test can turn warnings into failures. Must be
// thread-safe.
using WarningHandler = std::function<void(const Warning&)>;

// The default handler: one line on std::clog for the first warning of each kind per alias.
// Of the kinds from degraded to reload_failed, which speak of how the store is now, up to
// eight lines in 50 s. Thread-safe.
POLYCACHE_API void log_first_of_each_kind(const Warning& warning);

}  // namespace polycache
