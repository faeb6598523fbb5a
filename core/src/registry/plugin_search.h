// Where the plugins of a configuration are searched for.

#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/loader.h"
#include "polycache/config.h"
#include "polycache/environment.h"

namespace polycache {

// The problem of a URL, or another text with a password, in place of a plugin's name.
inline constexpr std::string_view no_plugin_name =
    "expected a name, or the path of a plugin's file; the value is neither, and is not shown since "
    "it may contain a password";

// Thread-safe. `config` and `environment` must outlive it.
class PluginSearch {
 public:
  PluginSearch(const Config& config, const Environment& environment);

  // As find_plugin(). REQUIRES: is_plugin_like(name), since errors show the name
  LoadedPlugin find(PluginKind kind, std::string_view name) const;

  // As load_key_function(). A relative `file` is one of the configuration's folder.
  PluginKeyFunction key_function(const std::filesystem::path& file,
                                 const std::string& symbol) const;

 private:
  WritableFiles writable() const noexcept;

  const Config& config_;
  const Environment& environment_;
  const std::vector<std::filesystem::path> folders_;
};

}  // namespace polycache
