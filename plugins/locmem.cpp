#include "polycache/backends/locmem.h"

POLYCACHE_PLUGIN(polycache::locmem::plugin);
