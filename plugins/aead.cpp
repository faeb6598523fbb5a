#include "polycache/transforms/aead.h"

POLYCACHE_PLUGIN(polycache::aead::plugin);
