#include "polycache/backends/dummy.h"

POLYCACHE_PLUGIN(polycache::dummy::plugin);
