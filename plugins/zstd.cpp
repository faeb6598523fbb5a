#include "polycache/transforms/zstd.h"

POLYCACHE_PLUGIN(polycache::zstd::plugin);
