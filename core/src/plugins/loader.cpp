#include "plugins/loader.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "base/no_destructor.h"
#include "plugins/descriptors.h"
#include "plugins/stock.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

namespace fs = std::filesystem;

LoadedPlugin load_plugin(PluginKind kind, const fs::path& file, WritableFiles writable) {
  const PluginDescriptor& descriptor = descriptor_of(file, load_library(file, writable));
  require_kind(quote_path(file.native()), descriptor, kind);
  return {&descriptor, file.string()};
}

LoadedPlugin load_named_plugin(PluginKind kind, const fs::path& file, std::string_view name,
                               WritableFiles writable) {
  LoadedPlugin plugin = load_plugin(kind, file, writable);
  if (plugin.descriptor->name == name) return plugin;
  throw PluginError(quote_path(file.native()) + " contains the plugin " +
                    quote(plugin.descriptor->name) + ", not " + quote(name) +
                    "; rename the file, or configure it by its path");
}

const PluginDescriptor* find_linked(PluginKind kind, std::string_view name,
                                    std::span<const PluginDescriptor* const> linked) {
  const PluginDescriptor* found = nullptr;
  for (const PluginDescriptor* descriptor : linked) {
    if (!linked_plugin_problem(descriptor).empty()) continue;  // the registry has reported it
    if (descriptor->kind != kind || descriptor->name != name || descriptor == found) continue;
    if (found != nullptr) {
      throw PluginError("two different linked plugins are called " + quote(name) +
                        "; give one of them another name");
    }
    found = descriptor;
  }
  return found;
}

// Any entry of that name, even a dangling link: it is intended as a plugin, and an error.
bool is_there(const fs::path& file) {
  std::error_code error;
  return fs::exists(fs::symlink_status(file, error));
}

std::optional<fs::path> file_in(const fs::path& folder, std::string_view name) {
  const fs::path plain = folder / ("polycache_" + std::string(name) + ".so");
  const fs::path as_library = folder / ("libpolycache_" + std::string(name) + ".so");
  const bool plain_is_there = is_there(plain);
  if (!is_there(as_library)) return plain_is_there ? std::optional(plain) : std::nullopt;
  if (!plain_is_there) return as_library;
  throw PluginError("there are two files for the plugin " + quote(name) + ", " +
                    quote_path(plain.native()) + " and " + quote_path(as_library.native()) +
                    "; remove one");
}

// A folder and, if applicable, the reason why nothing was found in it.
std::string describe_folder(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  std::string text = quote_path(folder.native());
  if (status.type() == fs::file_type::not_found) {
    text += " (no such folder)";
  } else if (status.type() == fs::file_type::none) {
    text += " (" + error.message() + ")";
  } else if (status.type() != fs::file_type::directory) {
    text += " (not a folder)";
  } else if (fs::directory_iterator(folder, error); error) {
    text += " (" + error.message() + ")";
  }
  return text;
}

const StockPlugin* find_stock(std::string_view name) {
  for (const StockPlugin& plugin : stock_plugins()) {
    if (plugin.name == name) return &plugin;
  }
  return nullptr;
}

// "NAME" of polycache_NAME.so or libpolycache_NAME.so.
std::optional<std::string> plugin_name(const fs::path& file) {
  const std::string text = file.filename().string();
  std::string_view name = text;
  if (name.starts_with("lib")) name.remove_prefix(3);
  constexpr std::string_view prefix = "polycache_";
  constexpr std::string_view suffix = ".so";
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  name.remove_suffix(suffix.size());
  if (!is_word(name)) return std::nullopt;
  return std::string(name);
}

// Whether `file` could be loaded as a plugin of that kind, as far as can be determined without
// running its code: the kind is known only for loaded files and for our own names.
bool may_be(PluginKind kind, const fs::path& file, std::string_view name) {
  try {
    std::error_code error;
    const fs::path canonical = fs::canonical(file, error);
    if (error) return false;
    if (const Library* library = find_loaded(canonical)) {
      const PluginDescriptor& descriptor = descriptor_of(file, *library);
      return descriptor.kind == kind && descriptor.name == name;
    }
    const StockPlugin* stock = find_stock(name);
    if (stock != nullptr && stock->kind != kind) return false;
    check_library(canonical);
    return true;
  } catch (const PluginError&) {
    return false;
  }
}

std::string list_of(std::span<const std::string> names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + quote(name);
  return text;
}

std::string not_found(PluginKind kind, std::string_view name,
                      std::span<const PluginDescriptor* const> linked,
                      std::span<const fs::path> search_path) {
  const std::string word = word_for(kind);
  std::string text = "there is no " + word + " " + quote(name) + ": ";
  if (search_path.empty()) {
    text += "it is not linked into this program, and there is no folder to search";
  } else {
    text += "no polycache_" + std::string(name) + ".so in ";
    for (const fs::path& folder : search_path) {
      text += (&folder == search_path.data() ? "" : ", ") + describe_folder(folder);
    }
  }
  const StockPlugin* stock = find_stock(name);
  if (stock != nullptr && stock->kind == kind && !stock->remark.empty()) {
    text += "; polycache's own " + quote(name) + " " + std::string(stock->remark);
  }
  const std::vector<std::string> available = available_plugins(kind, linked, search_path);
  const std::vector<std::string_view> candidates(available.begin(), available.end());
  if (const auto near = nearest(name, candidates)) text += "; did you mean " + quote(*near) + "?";
  const char* const separator = text.ends_with('?') ? " " : "; ";
  text += separator;
  text += available.empty() ? "none is available" : "available: " + list_of(available);
  return text;
}

// The folder "polycache" next to the library (or the program) that contains this code. Stored,
// since a relative path is valid only until the program changes its working folder.
const fs::path& own_plugin_folder() {
  static NoDestructor<fs::path> folder([] {
    Dl_info info{};
    std::error_code error;
    if (::dladdr(reinterpret_cast<const void*>(&plugin_search_path), &info) == 0) return fs::path();
    const fs::path self = fs::absolute(info.dli_fname, error);
    // Resolved by the file system: "link/.." need not be the folder that contains the link.
    const fs::path real = fs::canonical(self.parent_path(), error);
    return (error ? self.lexically_normal().parent_path() : real) / "polycache";
  }());
  return *folder;
}

}  // namespace

LoadedPlugin find_plugin(PluginKind kind, std::string_view name,
                         std::span<const PluginDescriptor* const> linked,
                         std::span<const fs::path> search_path, const fs::path& folder,
                         WritableFiles writable) {
  if (name.find('/') != std::string_view::npos) return load_plugin(kind, folder / name, writable);
  if (!is_word(name)) {
    throw PluginError(quote(name) + " is not the name of a " + word_for(kind) +
                      ": a name has letters, digits, \"_\" and \"-\" only, and the path of a file "
                      "has a \"/\", as in \"./polycache_mine.so\"");
  }
  if (const PluginDescriptor* descriptor = find_linked(kind, name, linked)) return {descriptor};
  for (const fs::path& place : search_path) {
    // Checked before the file is searched: users who can write there could add it at any time.
    check_folder_writers(place, writable);
    if (const auto file = file_in(place, name))
      return load_named_plugin(kind, *file, name, writable);
  }
  throw PluginError(not_found(kind, name, linked, search_path));
}

PluginKeyFunction load_key_function(const fs::path& file, const std::string& symbol,
                                    WritableFiles writable) {
  const auto found = own_symbol(load_library(file, writable), symbol.c_str());
  if (!found) {
    throw PluginError(quote_path(file.native()) + " has no function " + quote(symbol) +
                      "; declare it extern \"C\" and visible: void " + symbol +
                      "(std::string& out, std::string_view key, std::string_view prefix, int "
                      "version)");
  }
  if (!found->is_function) {
    throw PluginError(quote_path(file.native()) + " has " + quote(symbol) +
                      ", but it is not a function");
  }
  return reinterpret_cast<PluginKeyFunction>(found->address);
}

std::vector<fs::path> plugin_search_path(std::span<const fs::path> configured) {
  std::vector<fs::path> path;
  const auto add = [&](const fs::path& folder) {
    if (folder.empty() || std::find(path.begin(), path.end(), folder) != path.end()) return;
    path.push_back(folder);
  };
  for (const fs::path& folder : configured) add(folder);
  // Ignored in a program with more rights than its user, who must not choose its code.
  const char* variable = ::secure_getenv("POLYCACHE_PLUGIN_PATH");
  std::string_view rest = variable != nullptr ? variable : "";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    add(fs::path(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  add(own_plugin_folder());
  return path;
}

std::vector<std::string> available_plugins(PluginKind kind,
                                           std::span<const PluginDescriptor* const> linked,
                                           std::span<const fs::path> search_path) {
  std::set<std::string> names;
  for (const PluginDescriptor* descriptor : linked) {
    if (!linked_plugin_problem(descriptor).empty()) continue;
    if (descriptor->kind == kind) names.insert(descriptor->name);
  }
  for (const fs::path& folder : search_path) {
    std::error_code error;
    fs::directory_iterator entry(folder, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      const auto name = plugin_name(entry->path());
      if (name && may_be(kind, entry->path(), *name)) names.insert(*name);
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace polycache
