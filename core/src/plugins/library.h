// Shared libraries: checked, loaded, never unloaded. Only plugins/library.cpp uses Boost.DLL.

#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace polycache {

// Whether to accept files, or searched folders, that other users can write to (write_access.h).
enum class WritableFiles : unsigned char { refused, allowed };

// A loaded one; exists for ever.
struct Library;

// The library, checked and loaded, or loaded before; its file may have been replaced since. No lock
// is held while code of the library runs. Throws PluginError.
const Library& load_library(const std::filesystem::path& file, WritableFiles writable);

// If it was loaded before; else null.
const Library* find_loaded(const std::filesystem::path& canonical);

// Throws PluginError if load_library() would refuse the file, as far as can be seen without running
// code of it.
void check_library(const std::filesystem::path& canonical);

// Throws PluginError if others can write to the folder.
void check_folder_writers(const std::filesystem::path& folder, WritableFiles writable);

struct Symbol {
  void* address;
  bool is_object;
  bool is_function;
};

// A symbol that the library itself defines: a plain search for "strlen" would also find that of the
// C library, on which it depends.
std::optional<Symbol> own_symbol(const Library& library, const char* name);

}  // namespace polycache
