// The symbol that programs refer to (export.h), in a file of its own: programs that take other
// sources of the core, as fuzz targets do, must not define it again.

#include "polycache/detail/export.h"

namespace polycache {

const char program_and_libpolycache_must_both_be::POLYCACHE_STDLIB_SYMBOL = 0;

}  // namespace polycache
