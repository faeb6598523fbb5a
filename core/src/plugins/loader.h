// Finds, checks and loads plugins.
//
// A file is checked before any of its code runs: its section table must be complete, and its ABI
// mark (abi.h) must be ours. A loaded file is never unloaded; loading it again returns the same
// handle.

#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/descriptors.h"
#include "plugins/library.h"
#include "polycache/author/plugin.h"

namespace polycache {

struct LoadedPlugin {
  const PluginDescriptor* descriptor = nullptr;  // never destroyed
  std::string file = {};                         // empty: linked into the program
};

// The plugin of that kind and name: among those of `linked` that have no problem, else in the first
// folder of `search_path` that contains polycache_NAME.so or libpolycache_NAME.so. A file that
// exists but is wrong ends the search. A `name` with a '/' is a path, relative to `folder`; its
// descriptor may have any name. Throws PluginError with every folder that was tried and a
// suggestion, or with the problem of the file, naming both sides.
LoadedPlugin find_plugin(PluginKind kind, std::string_view name,
                         std::span<const PluginDescriptor* const> linked,
                         std::span<const std::filesystem::path> search_path,
                         const std::filesystem::path& folder,
                         WritableFiles writable = WritableFiles::refused);

// The function `symbol` of a library with our ABI mark (POLYCACHE_ABI_MARK).
PluginKeyFunction load_key_function(const std::filesystem::path& file, const std::string& symbol,
                                    WritableFiles writable = WritableFiles::refused);

// The folders to search for plugins: `configured`, the folders of POLYCACHE_PLUGIN_PATH (separated
// by ':'), and the folder "polycache" next to libpolycache.so.
std::vector<std::filesystem::path> plugin_search_path(
    std::span<const std::filesystem::path> configured);

// The names of available plugins of that kind, sorted; for messages.
std::vector<std::string> available_plugins(PluginKind kind,
                                           std::span<const PluginDescriptor* const> linked,
                                           std::span<const std::filesystem::path> search_path);

}  // namespace polycache
