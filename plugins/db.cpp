// The store "sqlite" under the name that those who come from Django know.

#include "polycache/backends/sqlite.h"

POLYCACHE_PLUGIN(polycache::sqlite::db_plugin);
