#include "polycache/backends/memcached.h"

POLYCACHE_PLUGIN(polycache::memcached::plugin);
