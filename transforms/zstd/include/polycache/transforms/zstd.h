// The transform "zstd": compresses values by Zstandard. Small and fast; the best choice for most
// caches.
//
//   "default": {"backend": "redis", "location": "...", "transform": ["zstd"]}
//   "transform": [{"name": "zstd", "options": {"level": 6, "min_bytes": "4KiB"}}]
//
// Options, in addition to those of every compressor (author/compressor.h) and of every transform
// (author/transform.h):
//
//   level  from fastest to smallest: -50 to 22; 3. Levels above 9 are slow and take much memory

#pragma once

#include "polycache/author/plugin.h"

namespace polycache::zstd {

extern const PluginDescriptor plugin;

}  // namespace polycache::zstd
