// The stock transforms that this build has, for tests and benchmarks of all of them.

#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "polycache/author/plugin.h"
#ifdef WITH_ZSTD
#include "polycache/transforms/zstd.h"
#endif
#ifdef WITH_LZ4
#include "polycache/transforms/lz4.h"
#endif
#ifdef WITH_ZLIB
#include "polycache/transforms/zlib.h"
#endif
#ifdef WITH_AEAD
#include "polycache/transforms/aead.h"
#endif

namespace polycache::testing {

struct StockTransform {
  const PluginDescriptor* plugin;
  OptionMap options = {};  // without which it does not work

  std::string name() const { return plugin->name; }
};

// How gtest shows a parameter.
inline void PrintTo(const StockTransform& transform, std::ostream* out) {
  *out << transform.name();
}

inline std::vector<StockTransform> stock_compressors() {
  return {
#ifdef WITH_ZSTD
      {&zstd::plugin},
#endif
#ifdef WITH_LZ4
      {&lz4::plugin},
#endif
#ifdef WITH_ZLIB
      {&zlib::plugin},
#endif
  };
}

// 64 equal digits: a key that no program has, and that tests look for in messages.
inline std::string key_of(char digit) { return std::string(64, digit); }

inline std::vector<StockTransform> stock_transforms() {
  std::vector<StockTransform> all = stock_compressors();
#ifdef WITH_AEAD
  all.push_back({&aead::plugin, {{"keys", "test:" + key_of('7')}}});
#endif
  return all;
}

}  // namespace polycache::testing
