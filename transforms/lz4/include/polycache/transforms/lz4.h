// The transform "lz4": compresses values by LZ4. Faster than "zstd", and compresses less.
//
//   "default": {"backend": "redis", "location": "...", "transform": ["lz4"]}
//
// Options, in addition to those of every compressor (author/compressor.h) and of every transform
// (author/transform.h):
//
//   level  1 is the fast algorithm; 3 to 12 is LZ4 HC, which compresses more slowly and reads as
//          fast; 1

#pragma once

#include "polycache/author/plugin.h"

namespace polycache::lz4 {

extern const PluginDescriptor plugin;

}  // namespace polycache::lz4
