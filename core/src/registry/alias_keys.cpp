#include "registry/alias_keys.h"

#include <cstddef>
#include <filesystem>
#include <utility>

#include "base/shown.h"
#include "plugins/key_functions.h"
#include "polycache/error.h"
#include "polycache/key.h"

namespace polycache {
namespace {

// Sets `function`. Returns whether it keeps the head.
bool find_key_function(const std::string& name, const PluginSearch& search, KeyFunction& function) {
  if (auto registered = registered_key_function(name)) {
    function = std::move(*registered);
    return false;
  }
  // "path/libmy_keys.so:my_function"
  const std::size_t colon = name.rfind(':');
  if (colon != std::string::npos && name.find('/') != std::string::npos &&
      name.find('/', colon) == std::string::npos) {
    const std::filesystem::path file = name.substr(0, colon);
    function = search.key_function(file, name.substr(colon + 1));
    return false;
  }
  const LoadedPlugin plugin = search.find(PluginKind::key_function, name);
  function = plugin.descriptor->payload.key_function;
  return (plugin.descriptor->flags & keeps_head) != 0;
}

}  // namespace

std::shared_ptr<KeyPolicy> make_key_policy(const std::string& path, const CacheConfig& cache,
                                           const PluginSearch& search, AliasProblems& problems) {
  if (cache.key_prefix.find(":~") != std::string::npos) {
    problems.note(path + ".key_prefix",
                  R"(must not contain ":~", with which keys of the library's own begin)");
  }
  KeyFunction function;
  bool head_is_kept = true;
  if (!is_plugin_like(cache.key_function) && !registered_key_function(cache.key_function)) {
    problems.note_of_plugin(path + ".key_function", no_plugin_name);
    return nullptr;
  }
  if (cache.key_function != "default") {
    try {
      head_is_kept = find_key_function(cache.key_function, search, function);
    } catch (const PluginError& error) {
      problems.note_of_plugin(path + ".key_function", error.what());
      return nullptr;
    }
  }
  return std::make_shared<KeyPolicy>(cache.key_prefix, cache.version, std::move(function),
                                     head_is_kept);
}

}  // namespace polycache
