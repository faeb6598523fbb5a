// Names that nothing else has, and that cannot be guessed.

#pragma once

#include <string>

#include "polycache/detail/export.h"

namespace polycache {

// 128 bits of getrandom(2), as 32 hex digits. Throws std::system_error if the system has none.
// Thread-safe.
POLYCACHE_API std::string random_id();

}  // namespace polycache
