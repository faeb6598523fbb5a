// Events that are not errors but that the program should know about.

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
    key_custom,         // from a backend's own validate_key()
    undecodable_value,  // read as a miss
    entry_damaged,      // read as a miss
    value_refused,      // too large, out of memory: not stored
    degraded,           // operations continue without the store
    recovered,          // ... and use it again
    breaker_opened,     // a store or server keeps failing; calls to it stop for a while
    breaker_closed,
    reload_failed,  // CacheRegistry::reload() kept the old configuration
    other,
    lock_lost,    // its lease ended, or the store lost it, while its owner had it
    dump_failed,  // a store did not load its dump, or could not save it
  };
  Kind kind = Kind::other;
  std::string_view alias = {};
  std::string_view key = {};      // empty if the warning is not about one key
  std::string_view message = {};  // a complete sentence, ready to print

  // Number of events that this warning stands for. The first failure of a store of each
  // BackendError::Kind is reported at once; later ones are counted and summed up once a minute.
  std::uint64_t count = 1;
};

// "key_too_long" etc.; for logs and tests.
POLYCACHE_API std::string_view to_string(Warning::Kind kind) noexcept;

// Called on the thread that met the problem, never while a store is in use: it may use any cache,
// including the one that warned. It may throw: the operation is then abandoned and the exception
// reaches the caller, so that a test can turn warnings into failures. Must be thread-safe.
using WarningHandler = std::function<void(const Warning&)>;

// The default handler: prints one line on std::clog for the first warning of each kind per alias.
// For dump_failed and the kinds from degraded to reload_failed, which describe the state of the
// store, up to eight lines in 50 s. Thread-safe.
POLYCACHE_API void log_first_of_each_kind(const Warning& warning);

}  // namespace polycache
