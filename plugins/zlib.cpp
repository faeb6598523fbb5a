#include "polycache/transforms/zlib.h"

POLYCACHE_PLUGIN(polycache::zlib::plugin);
