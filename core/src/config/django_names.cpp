#include "config/django_names.h"

#include <algorithm>
#include <array>
#include <span>

namespace polycache {
namespace {

struct Renamed {
  std::string_view django;
  std::string_view ours;
};

constexpr std::array<Renamed, 10> members{{
    {"BACKEND", R"("backend")"},
    {"LOCATION", R"("location")"},
    {"TIMEOUT", R"("timeout")"},
    {"OPTIONS", R"("options")"},
    {"KEY_PREFIX", R"("key_prefix")"},
    {"VERSION", R"("version")"},
    {"KEY_FUNCTION", R"("key_function")"},
    {"MAX_ENTRIES", R"("max_entries" in "options")"},
    {"CULL_FREQUENCY", R"("cull_frequency" in "options")"},
    {"CACHES", R"("caches")"},
}};

constexpr std::array<Renamed, 8> backends{{
    {"DummyCache", R"("dummy")"},
    {"LocMemCache", R"("locmem")"},
    {"DatabaseCache", R"("sqlite")"},
    {"FileBasedCache", R"("sqlite")"},
    {"PyLibMCCache", R"("memcached")"},
    {"PyMemcacheCache", R"("memcached")"},
    {"MemcachedCache", R"("memcached")"},
    {"RedisCache", R"("redis")"},
}};

std::optional<std::string_view> find(std::span<const Renamed> names,
                                     std::string_view django) noexcept {
  const auto found = std::find_if(names.begin(), names.end(),
                                  [&](const Renamed& name) { return name.django == django; });
  if (found == names.end()) return std::nullopt;
  return found->ours;
}

}  // namespace

std::optional<std::string_view> our_member(std::string_view django) noexcept {
  return find(members, django);
}

std::optional<std::string_view> our_backend(std::string_view django) noexcept {
  return find(backends, django);
}

}  // namespace polycache
