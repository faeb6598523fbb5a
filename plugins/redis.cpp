#include "polycache/backends/redis.h"

POLYCACHE_PLUGIN(polycache::redis::plugin);
