// The store "sqlite" under its name in Django.

#include "polycache/backends/sqlite.h"

POLYCACHE_PLUGIN(polycache::sqlite::db_plugin);
