#include "registry/description.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <variant>

#include "base/shown.h"
#include "config/hidden.h"
#include "polycache/author/text.h"

namespace polycache {
namespace {

// A word, a number, a few short words, or a path: nothing that could contain a password as
// connection strings do.
bool is_plain(std::string_view text) {
  const bool is_rooted = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
  return is_word_like(text) || (is_rooted && std::all_of(text.begin(), text.end(), [](char c) {
                                  return is_plain_character(c) || c == '/';
                                }));
}

// What describe() shows of an option.
std::string shown(const OptionValue& value) {
  if (const auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (const auto* i = std::get_if<std::int64_t>(&value)) return std::to_string(*i);
  if (const auto* d = std::get_if<double>(&value)) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, *d).ptr};
  }
  if (const auto* s = std::get_if<std::string>(&value)) return is_plain(*s) ? *s : "...";
  std::string list;
  for (const std::string& item : std::get<std::vector<std::string>>(value)) {
    list.append(list.empty() ? "" : ", ").append(shown(OptionValue(item)));
  }
  return list;
}

}  // namespace

void describe(const Config& config, const std::string& path, const CacheConfig& cache,
              CacheInfo& info) {
  if (is_plugin_like(cache.backend)) info.backend = cache.backend;
  info.key_prefix = cache.key_prefix;
  info.version = cache.version;
  info.timeout = cache.timeout;
  info.on_error = cache.on_error;
  info.clear = cache.clear;
  info.key_function = is_plugin_like(cache.key_function) ? cache.key_function : "...";
  info.key_warnings = cache.key_warnings;
  info.load = cache.load;
  const bool hidden = config.hidden.contains(path + ".location");
  for (const std::string& location : cache.location) {
    info.location.push_back(hidden ? "..." : without_credentials(location));
  }
  OptionReader reader(path, cache.location, cache.options, [](auto, auto) {});
  reader.hide(hidden_under(config.hidden, path + ".options."));
  for (const auto& [name, value] : cache.options) {
    info.options.emplace(name, reader.is_hidden(name) ? "..." : shown(value));
  }
}

}  // namespace polycache
