#include "polycache/transforms/lz4.h"

POLYCACHE_PLUGIN(polycache::lz4::plugin);
