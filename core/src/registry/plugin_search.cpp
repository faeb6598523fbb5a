#include "registry/plugin_search.h"

namespace polycache {
namespace {

std::vector<std::filesystem::path> plugin_folders(const Config& config) {
  std::vector<std::filesystem::path> folders;
  for (const std::filesystem::path& folder : config.plugin_path) {
    folders.push_back(folder.is_absolute() ? folder : config.folder / folder);
  }
  return plugin_search_path(folders);
}

}  // namespace

PluginSearch::PluginSearch(const Config& config, const Environment& environment)
    : config_(config), environment_(environment), folders_(plugin_folders(config)) {}

LoadedPlugin PluginSearch::find(PluginKind kind, std::string_view name) const {
  return find_plugin(kind, name, environment_.linked_plugins, folders_, config_.folder, writable());
}

PluginKeyFunction PluginSearch::key_function(const std::filesystem::path& file,
                                             const std::string& symbol) const {
  return load_key_function(file.is_absolute() ? file : config_.folder / file, symbol, writable());
}

WritableFiles PluginSearch::writable() const noexcept {
  return config_.allow_writable_plugins ? WritableFiles::allowed : WritableFiles::refused;
}

}  // namespace polycache
