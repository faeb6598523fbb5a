// The transform "zlib": compresses values by zlib (deflate), which every system has. Slower than
// "zstd", and compresses less.
//
//   "default": {"backend": "redis", "location": "...", "transform": ["zlib"]}
//
// Options, in addition to those of every compressor (author/compressor.h) and of every transform
// (author/transform.h):
//
//   level  from fastest to smallest: 1 to 9; 6

#pragma once

#include "polycache/author/plugin.h"

namespace polycache::zlib {

extern const PluginDescriptor plugin;

}  // namespace polycache::zlib
