// The sections "locks" and "lock_defaults" of a configuration.

#pragma once

#include <string_view>

#include "polycache/detail/lock_core.h"
#include "polycache/lock_options.h"

namespace polycache::detail {

// What a lock of that name takes: from the options, the registry's sections, or by default.
// `registry`: null if there is no configuration. Throws ConfigError with every problem of the
// sections.
LockSettings lock_settings(const LockOptions& options, const CacheRegistry* registry,
                           std::string_view name);

}  // namespace polycache::detail
