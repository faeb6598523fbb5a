#include "registry/shared_prefixes.h"

#include <string>
#include <string_view>

#include "polycache/author/text.h"
#include "registry/reports.h"

namespace polycache {
namespace {

class SharedPrefixes {
 public:
  SharedPrefixes(const Config& config, const BuiltAliases& built)
      : config_(config), built_(built) {}

  // The message for an alias, or an empty text. Clearing the prefix "shop" removes all keys that
  // begin with "shop:", and so all of "shop:eu".
  std::string message(const std::string& alias, const CacheConfig& cache) const {
    std::string others;
    for (const auto& [other, inner] : config_.caches) {
      if (inner.key_prefix == cache.key_prefix || !share_a_store(alias, other)) continue;
      if (!(inner.key_prefix + ':').starts_with(cache.key_prefix + ':')) continue;
      others.append(others.empty() ? "" : ", ").append(quote(other));
      others.append(" (prefix ").append(quote(inner.key_prefix)).append(")");
    }
    if (others.empty()) return others;
    return "clear() removes every key that begins with " + quote(cache.key_prefix + ':') +
           ", including the entries of " + others +
           ", which share the store; give each a prefix that does not begin with another one and "
           "':'";
  }

 private:
  // As far as the configuration shows: one location spelled in two ways counts as two.
  bool share_a_store(const std::string& one, const std::string& another) const {
    const BuiltAlias& first = built_.find(one)->second;
    const BuiltAlias& second = built_.find(another)->second;
    if (!first.state || !second.state || first.info.backend != second.info.backend) return false;
    // Without a head, the keys depend on the key function.
    if (second.state->keys().head().empty()) return false;
    const CacheConfig& a = config_.caches.find(one)->second;
    const CacheConfig& b = config_.caches.find(another)->second;
    // All stock stores use these option names for parts of a store.
    const auto same = [&](std::string_view option) {
      const auto mine = a.options.find(option);
      const auto its = b.options.find(option);
      if (mine == a.options.end() || its == b.options.end()) {
        return mine == a.options.end() && its == b.options.end();
      }
      return mine->second == its->second;
    };
    return a.location == b.location && same("database") && same("table");
  }

  const Config& config_;
  const BuiltAliases& built_;
};

}  // namespace

void warn_of_shared_prefixes(const Config& config, const BuiltAliases& built,
                             const WarningHandler& handler) {
  if (!handler) return;
  const SharedPrefixes prefixes(config, built);
  for (const auto& [alias, cache] : config.caches) {
    if (cache.clear != ClearScope::prefix) continue;
    const std::string message = prefixes.message(alias, cache);
    if (!message.empty()) make_reporter(alias, handler)({.message = message});
  }
}

}  // namespace polycache
