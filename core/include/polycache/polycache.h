// Everything a program needs: caches["alias"], configuration, keys, errors. Codecs other than the
// built-in ones have their own headers: codec_json.h, codec_binary.h.

#pragma once

#include "polycache/abi.h"               // IWYU pragma: export
#include "polycache/author/extension.h"  // IWYU pragma: export
#include "polycache/cache.h"             // IWYU pragma: export
#include "polycache/cache_info.h"        // IWYU pragma: export
#include "polycache/codec.h"             // IWYU pragma: export
#include "polycache/config.h"            // IWYU pragma: export
#include "polycache/entry.h"             // IWYU pragma: export
#include "polycache/environment.h"       // IWYU pragma: export
#include "polycache/error.h"             // IWYU pragma: export
#include "polycache/executor.h"          // IWYU pragma: export
#include "polycache/key.h"               // IWYU pragma: export
#include "polycache/load.h"              // IWYU pragma: export
#include "polycache/load_options.h"      // IWYU pragma: export
#include "polycache/maintenance.h"       // IWYU pragma: export
#include "polycache/observer.h"          // IWYU pragma: export
#include "polycache/options.h"           // IWYU pragma: export
#include "polycache/policy.h"            // IWYU pragma: export
#include "polycache/registry.h"          // IWYU pragma: export
#include "polycache/scan.h"              // IWYU pragma: export
#include "polycache/statistics.h"        // IWYU pragma: export
#include "polycache/typed_key.h"         // IWYU pragma: export
#include "polycache/warning.h"           // IWYU pragma: export
