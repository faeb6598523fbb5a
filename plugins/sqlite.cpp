#include "polycache/backends/sqlite.h"

POLYCACHE_PLUGIN(polycache::sqlite::plugin);
