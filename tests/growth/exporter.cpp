#include "exporter.h"

namespace {

constexpr growth::Exporter exporter{
    [](std::string_view alias, const polycache::CacheStatistics& statistics) {
      return std::string(alias) + ' ' + std::to_string(statistics.hits) + '/' +
             std::to_string(statistics.misses);
    }};

constexpr auto plugin =
    polycache::other_plugin(growth::exporter_kind, "growth_exporter", "1.0", &exporter);

}  // namespace

POLYCACHE_PLUGIN(plugin);
