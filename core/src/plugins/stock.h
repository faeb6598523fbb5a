// The plugins that belong to polycache, as the build knows them: each store's CMakeLists.txt names
// its own by polycache_stock_plugin(). The core itself knows none.

#pragma once

#include <span>
#include <string_view>

#include "polycache/author/plugin.h"

namespace polycache {

struct StockPlugin {
  std::string_view name;
  PluginKind kind;
  std::string_view remark;  // why a build may lack it; empty if none does
};

// Defined in a source that the build writes (cmake/stock_plugins.cpp.in).
std::span<const StockPlugin> stock_plugins() noexcept;

}  // namespace polycache
