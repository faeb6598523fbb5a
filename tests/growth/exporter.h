// A kind of plugin that polycache does not know: it prints statistics in some format.

#pragma once

#include <polycache/author/plugin.h>
#include <polycache/statistics.h>

#include <string>
#include <string_view>

namespace growth {

inline constexpr auto exporter_kind = static_cast<polycache::PluginKind>(1000);

struct Exporter {
  std::string (*line)(std::string_view alias, const polycache::CacheStatistics& statistics);
};

}  // namespace growth
