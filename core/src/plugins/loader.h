// Finding, judging and loading plugins. The only user of Boost.DLL is plugins/loader.cpp.
//
// A file is judged before any code of it runs: its section table must be whole, its ABI
// mark (abi.h) must be ours. A loaded file is never unloaded; loading one again gives the
// same handle.

#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/plugin.h"

namespace polycache {

// What becomes of plugins that others can write to (write_access.h), in files or in folders
// that are searched.
enum class WritableFiles : unsigned char { refused, allowed };

struct LoadedPlugin {
  const PluginDescriptor* descriptor = nullptr;  // lives forever
  std::string file = {};                         // empty: linked into the program
};

// What is wrong with a plugin that the program has linked, as what follows its name in a sentence.
// Empty: nothing.
std::string linked_plugin_problem(const PluginDescriptor* descriptor);

// The plugin of that kind and name: among those of `linked` that have no problem, else in the first
// folder of `search_path` that has polycache_NAME.so or libpolycache_NAME.so. A file that exists
// but is wrong ends the search. A `name` with a '/' is a path, relative to `folder`; its descriptor
// may say any name. Throws PluginError: every folder that was tried, with a suggestion; or what is
// wrong with the file, naming both sides.
LoadedPlugin find_plugin(PluginKind kind, std::string_view name,
                         std::span<const PluginDescriptor* const> linked,
                         std::span<const std::filesystem::path> search_path,
                         const std::filesystem::path& folder,
                         WritableFiles writable = WritableFiles::refused);

// The function `symbol` of a library that bears the ABI mark (POLYCACHE_ABI_MARK).
PluginKeyFunction load_key_function(const std::filesystem::path& file, const std::string& symbol,
                                    WritableFiles writable = WritableFiles::refused);

// Where plugins are looked for: `configured`, the folders of POLYCACHE_PLUGIN_PATH
// (separated by ':'), and the folder "polycache" beside libpolycache.so.
std::vector<std::filesystem::path> plugin_search_path(
    std::span<const std::filesystem::path> configured);

// Names of the plugins of that kind that could be found, sorted; for messages.
std::vector<std::string> available_plugins(PluginKind kind,
                                           std::span<const PluginDescriptor* const> linked,
                                           std::span<const std::filesystem::path> search_path);

}  // namespace polycache
