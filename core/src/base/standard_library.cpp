// Defines the symbol that programs refer to (export.h), in a separate file: programs that compile
// other sources of the core, as fuzz targets do, must not define it again.

#include "polycache/detail/export.h"

namespace polycache {

const char program_and_libpolycache_must_both_be::POLYCACHE_STDLIB_SYMBOL = 0;

}  // namespace polycache
