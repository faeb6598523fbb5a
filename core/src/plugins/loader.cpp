#include "plugins/loader.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>  // missing in Boost 1.74's library_info.hpp

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/library_info.hpp>
#include <boost/dll/shared_library.hpp>

#include "base/no_destructor.h"
#include "base/write_access.h"
#include "plugins/elf_judge.h"
#include "plugins/stock.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

namespace fs = std::filesystem;
using boost::dll::shared_library;

constexpr std::string_view kMarkPrefix = ".polycache_abi_";
constexpr const char* kDescriptorSymbol = "polycache_plugin";

// The whole path, unlike quote(): a truncated path is useless.
std::string quoted(const fs::path& file) { return '"' + file.string() + '"'; }

std::string word_for(PluginKind kind) {
  switch (kind) {
    case PluginKind::backend:
      return "backend";
    case PluginKind::layer:
      return "layer";
    case PluginKind::key_function:
      return "key function";
    case PluginKind::transform:
      return "transform";
  }
  return "plugin of kind " + std::to_string(static_cast<std::uint32_t>(kind));
}

bool is_word(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

// --- The ABI mark ---

// The parts of "1_libstdcxx_1_asan".
struct AbiMark {
  std::string_view number;
  std::string_view library;
  std::string_view variant;  // _GLIBCXX_USE_CXX11_ABI, or libc++'s ABI version
  std::string_view sanitizer = {};
};

std::optional<AbiMark> parse_mark(std::string_view text) {
  AbiMark mark{};
  for (const std::string_view sanitizer : {"_asan", "_tsan"}) {
    if (!text.ends_with(sanitizer)) continue;
    mark.sanitizer = sanitizer;
    text.remove_suffix(sanitizer.size());
  }
  const std::size_t first = text.find('_');
  const std::size_t last = text.rfind('_');
  if (first == std::string_view::npos || first == last) return std::nullopt;
  mark.number = text.substr(0, first);
  mark.library = text.substr(first + 1, last - first - 1);
  mark.variant = text.substr(last + 1);
  return mark;
}

std::string library_text(const AbiMark& mark) {
  if (mark.library == "libstdcxx_debug") {
    return "libstdc++ in debug mode (_GLIBCXX_DEBUG), string ABI " + std::string(mark.variant);
  }
  if (mark.library == "libstdcxx") return "libstdc++, string ABI " + std::string(mark.variant);
  if (mark.library == "libcxx") return "libc++, ABI " + std::string(mark.variant);
  return std::string(mark.library) + ", ABI " + std::string(mark.variant);
}

std::string sanitizer_text(const AbiMark& mark) {
  if (mark.sanitizer == "_asan") return "AddressSanitizer";
  if (mark.sanitizer == "_tsan") return "ThreadSanitizer";
  return "no sanitizer";
}

// The differences between a mark and ours, naming both sides.
std::string differences(std::string_view theirs, std::string_view ours) {
  const auto mark = parse_mark(theirs);
  const auto own = parse_mark(ours);
  if (!mark || !own) {
    return "its ABI mark is " + quote(theirs) + ", this program's is " + quote(ours);
  }
  std::string text;
  const auto add = [&](const std::string& what, const std::string& here) {
    if (!text.empty()) text += "; also, ";
    text += "it was built " + what + ", this program " + here;
  };
  if (mark->number != own->number) {
    add("for plugin ABI " + std::string(mark->number), "for " + std::string(own->number));
  }
  if (library_text(*mark) != library_text(*own)) {
    add("with " + library_text(*mark), "with " + library_text(*own));
  }
  if (mark->sanitizer != own->sanitizer && !mark->sanitizer.empty()) {  // see check_mark()
    add("with " + sanitizer_text(*mark), "with " + sanitizer_text(*own));
  }
  return text;
}

// The ABI mark of a file that judge_elf() has accepted. Boost reads the section names without
// checking that they end; judge_elf() makes that safe.
std::string read_mark(const fs::path& file) {
  std::vector<std::string> sections;
  try {
    sections = boost::dll::library_info(file).sections();
  } catch (const std::exception& error) {
    throw PluginError(quoted(file) + " cannot be read: " + error.what());
  }
  std::set<std::string> marks;
  for (const std::string& section : sections) {
    if (section.starts_with(kMarkPrefix)) marks.insert(section.substr(kMarkPrefix.size()));
  }
  if (marks.empty()) {
    throw PluginError(quoted(file) + " is not a polycache plugin: it has no section \"" +
                      std::string(kMarkPrefix) +
                      POLYCACHE_ABI "\", which POLYCACHE_PLUGIN or POLYCACHE_ABI_MARK adds");
  }
  if (marks.size() > 1) {
    throw PluginError(quoted(file) + " has two ABI marks, " + quote(*marks.begin()) + " and " +
                      quote(*marks.rbegin()) + ": it was linked from incompatible objects");
  }
  return *marks.begin();
}

// Accepts a plugin without a sanitizer in a program with one: the program's runtime serves both,
// but checks less of the plugin. In the reverse case the runtime is missing.
void check_mark(const fs::path& file) {
  const std::string mark = read_mark(file);
  const std::string own = POLYCACHE_ABI POLYCACHE_ABI_SANITIZER;
  if (mark == own || mark == POLYCACHE_ABI) return;
  throw PluginError(quoted(file) + " does not fit this program: " + differences(mark, own) +
                    "; build it with the flags of this program and the headers of polycache " +
                    POLYCACHE_VERSION);
}

// --- Write access ---

// `problem` comes from write_access.h.
[[noreturn]] void refuse_writable(const std::string& what, const std::string& problem) {
  throw PluginError(what + " " + problem +
                    " (to load it anyway, set \"allow_writable_plugins\": true in the "
                    "configuration, or POLYCACHE_ALLOW_WRITABLE_FILES=1 in the environment)");
}

void check_writers(const fs::path& file, WritableFiles writable) {
  if (writable == WritableFiles::allowed || writable_files_allowed()) return;
  const std::string problem = writable_by_others(file);
  if (!problem.empty()) refuse_writable(quoted(file), problem);
}

void check_folder_writers(const fs::path& folder, WritableFiles writable) {
  if (writable == WritableFiles::allowed || writable_files_allowed()) return;
  const std::string problem = folder_writable_by_others(folder);
  if (!problem.empty()) {
    refuse_writable("the plugin folder " + quoted(folder), problem);
  }
}

// --- Loading ---

// All files ever loaded, by canonical path; only grows. Unloading a library whose code a thread, an
// exception or a deleter still needs would crash, and that cannot be detected.
struct LoadedFiles {
  std::mutex mutex;  // guards what follows
  std::map<std::string, shared_library> files;
  std::string loader_lost;  // if not empty: why the dynamic loader must not be called any more
};

LoadedFiles& loaded_files() {
  static NoDestructor<LoadedFiles> loaded;
  return *loaded;
}

const shared_library* find_loaded(const fs::path& canonical) {
  LoadedFiles& loaded = loaded_files();
  const std::lock_guard lock(loaded.mutex);
  const auto found = loaded.files.find(canonical.string());
  return found == loaded.files.end() ? nullptr : &found->second;
}

// An exception that leaves dlopen() leaves the dynamic loader's lock locked. Any later call into
// the loader may then block forever, in any thread.
void require_loader() {
  LoadedFiles& loaded = loaded_files();
  const std::lock_guard lock(loaded.mutex);
  if (loaded.loader_lost.empty()) return;
  throw PluginError("this process cannot load any more plugins: " + loaded.loader_lost);
}

// Records that a static constructor of the file threw. `what` describes the exception.
[[noreturn]] void throw_loader_lost(const fs::path& canonical, const std::string& what) {
  const std::string problem =
      "a static constructor of " + quoted(canonical) + " threw " + what +
      ", and the dynamic loader's lock stays locked; end this process, and repair or remove "
      "that plugin before the next start";
  LoadedFiles& loaded = loaded_files();
  {
    const std::lock_guard lock(loaded.mutex);
    loaded.loader_lost = problem;
  }
  throw PluginError(problem);
}

// Runs the static constructors of the file. Their exceptions pass through dlopen(), which its
// header declares noexcept: around a direct call the compiler would omit the handler.
bool run_constructors(const fs::path& canonical) {
  void* (*volatile const open)(const char*, int) = ::dlopen;
  try {
    return open(canonical.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr;
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: must not be caught
    throw;
  } catch (const std::exception& thrown) {
    throw_loader_lost(canonical, "an exception (" + std::string(thrown.what()) + ")");
  } catch (...) {  // a foreign plugin may throw anything
    throw_loader_lost(canonical, "something that is not a std::exception");
  }
}

// dlerror() without the path, with which our message already begins.
std::string loader_message(const fs::path& canonical) {
  const char* text = ::dlerror();
  std::string message = text != nullptr ? text : "the dynamic loader gives no reason";
  const std::string prefix = canonical.string() + ": ";
  if (message.starts_with(prefix)) message.erase(0, prefix.size());
  return message;
}

// The library, checked and loaded, or loaded before; its file may have been replaced since. No lock
// is held while code of the library runs.
const shared_library& load(const fs::path& file, WritableFiles writable) {
  std::error_code error;
  const fs::path canonical = fs::canonical(file, error);
  if (error) throw PluginError(quoted(file) + " cannot be opened: " + error.message());
  if (const shared_library* library = find_loaded(canonical)) return *library;

  require_loader();
  check_writers(file, writable);
  judge_elf(canonical);
  check_mark(canonical);
  // Resolves all symbols now: a missing one is an error here, instead of terminating the process at
  // its first call.
  shared_library library;
  if (!run_constructors(canonical) ||
      (library.load(canonical, boost::dll::load_mode::rtld_now, error), error)) {
    throw PluginError(
        quoted(canonical) + " cannot be loaded: " + loader_message(canonical) +
        "; link the plugin with everything it needs (-Wl,-z,defs checks that at its build)");
  }
  LoadedFiles& loaded = loaded_files();
  const std::lock_guard lock(loaded.mutex);
  return loaded.files.try_emplace(canonical.string(), std::move(library)).first->second;
}

struct Symbol {
  void* address = nullptr;
  unsigned type = STT_NOTYPE;
};

// A symbol that the library itself defines: a plain search for "strlen" would also find that of the
// C library, on which it depends.
std::optional<Symbol> own_symbol(const shared_library& library, const char* name) {
  require_loader();  // dlsym() takes its lock, too
  void* const address = ::dlsym(library.native(), name);
  if (address == nullptr) return std::nullopt;
  const link_map* searched = nullptr;
  const link_map* found = nullptr;
  const ElfW(Sym)* entry = nullptr;
  Dl_info info{};
  if (::dlinfo(library.native(), RTLD_DI_LINKMAP, static_cast<void*>(&searched)) != 0 ||
      ::dladdr1(address, &info, reinterpret_cast<void**>(const_cast<link_map**>(&found)),
                RTLD_DL_LINKMAP) == 0 ||
      found != searched ||
      ::dladdr1(address, &info, reinterpret_cast<void**>(const_cast<ElfW(Sym)**>(&entry)),
                RTLD_DL_SYMENT) == 0) {
    return std::nullopt;
  }
  return Symbol{address, entry == nullptr ? STT_NOTYPE : entry->st_info & 0xfU};
}

// --- Descriptors ---

// The size in the first version of this ABI. Fields appended since are read only if `size` includes
// them.
constexpr std::size_t kSmallestDescriptor =
    offsetof(PluginDescriptor, payload) + sizeof(PluginPayload);

// Checks that this program understands `descriptor`, field after field: before `size` and the ABI
// are accepted, nothing is known about the other fields. `where` begins every message.
void check_descriptor(const std::string& where, const PluginDescriptor& descriptor) {
  const auto fail = [&](const std::string& what) { throw PluginError(where + " " + what); };
  if (std::memcmp(descriptor.magic, "plycache", sizeof(descriptor.magic)) != 0) {
    fail("has no polycache descriptor at \"polycache_plugin\"; write POLYCACHE_PLUGIN(...)");
  }
  if (descriptor.size < kSmallestDescriptor) {
    fail("has a descriptor of " + std::to_string(descriptor.size) + " bytes, this program needs " +
         std::to_string(kSmallestDescriptor) + ": build it with the headers of polycache " +
         POLYCACHE_VERSION);
  }
  if (descriptor.abi_version != POLYCACHE_ABI_VERSION || descriptor.abi == nullptr ||
      std::string_view(descriptor.abi) != POLYCACHE_ABI) {
    const std::string theirs = descriptor.abi == nullptr ? "" : descriptor.abi;
    fail("does not fit this program: " + differences(theirs, POLYCACHE_ABI) +
         "; build it with the flags of this program and the headers of polycache " +
         POLYCACHE_VERSION);
  }
  if (descriptor.name == nullptr || !is_word(descriptor.name)) {
    fail("has an invalid name: a name has letters, digits, \"_\" and \"-\" only");
  }
  const auto require = [&](bool is_there) {
    if (!is_there) fail("has a descriptor without its function");
  };
  switch (descriptor.kind) {
    case PluginKind::backend:
    case PluginKind::layer:
      return require(descriptor.payload.create != nullptr);
    case PluginKind::key_function:
      return require(descriptor.payload.key_function != nullptr);
    case PluginKind::transform:
      return require(descriptor.payload.transform != nullptr);
  }
  if (descriptor.payload.data == nullptr) fail("has a descriptor without its data");
}

void require_kind(const std::string& where, const PluginDescriptor& descriptor, PluginKind kind) {
  if (descriptor.kind == kind) return;
  throw PluginError(where + " is a " + word_for(descriptor.kind) + " (" + quote(descriptor.name) +
                    "), but a " + word_for(kind) + " is expected here");
}

const PluginDescriptor& descriptor_of(const fs::path& file, const shared_library& library) {
  const auto symbol = own_symbol(library, kDescriptorSymbol);
  if (!symbol || symbol->type != STT_OBJECT) {
    throw PluginError(quoted(file) +
                      " has polycache's ABI mark, but does not export \"polycache_plugin\"; write "
                      "POLYCACHE_PLUGIN(...) once, outside every namespace");
  }
  // A hand-written symbol may be the struct itself instead of a pointer to it.
  const PluginDescriptor* descriptor = nullptr;
  std::memcpy(&descriptor, symbol->address, sizeof(descriptor));
  if (descriptor == nullptr || std::memcmp(symbol->address, "plycache", 8) == 0) {
    throw PluginError(quoted(file) +
                      " exports \"polycache_plugin\", but not as the address of a descriptor; "
                      "write POLYCACHE_PLUGIN(...)");
  }
  check_descriptor(quoted(file), *descriptor);
  return *descriptor;
}

LoadedPlugin load_plugin(PluginKind kind, const fs::path& file, WritableFiles writable) {
  const PluginDescriptor& descriptor = descriptor_of(file, load(file, writable));
  require_kind(quoted(file), descriptor, kind);
  return {&descriptor, file.string()};
}

LoadedPlugin load_named_plugin(PluginKind kind, const fs::path& file, std::string_view name,
                               WritableFiles writable) {
  LoadedPlugin plugin = load_plugin(kind, file, writable);
  if (plugin.descriptor->name == name) return plugin;
  throw PluginError(quoted(file) + " contains the plugin " + quote(plugin.descriptor->name) +
                    ", not " + quote(name) + "; rename the file, or configure it by its path");
}

// --- Finding ---

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
  throw PluginError("there are two files for the plugin " + quote(name) + ", " + quoted(plain) +
                    " and " + quoted(as_library) + "; remove one");
}

// A folder and, if applicable, the reason why nothing was found in it.
std::string describe_folder(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  std::string text = quoted(folder);
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
    if (const shared_library* library = find_loaded(canonical)) {
      const PluginDescriptor& descriptor = descriptor_of(file, *library);
      return descriptor.kind == kind && descriptor.name == name;
    }
    const StockPlugin* stock = find_stock(name);
    if (stock != nullptr && stock->kind != kind) return false;
    require_loader();  // judge_elf() calls it
    judge_elf(canonical);
    check_mark(canonical);
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

std::string linked_plugin_problem(const PluginDescriptor* descriptor) {
  if (descriptor == nullptr) return "is null";
  try {
    check_descriptor("", *descriptor);
    return {};
  } catch (const PluginError& error) {
    const bool has_name = std::memcmp(descriptor->magic, "plycache", 8) == 0 &&
                          descriptor->size >= offsetof(PluginDescriptor, plugin_version) &&
                          descriptor->name != nullptr && is_word(descriptor->name);
    return (has_name ? quote(descriptor->name) : "it") + error.what();
  }
}

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
  const auto found = own_symbol(load(file, writable), symbol.c_str());
  if (!found) {
    throw PluginError(quoted(file) + " has no function " + quote(symbol) +
                      "; declare it extern \"C\" and visible: void " + symbol +
                      "(std::string& out, std::string_view key, std::string_view prefix, int "
                      "version)");
  }
  if (found->type != STT_FUNC) {
    throw PluginError(quoted(file) + " has " + quote(symbol) + ", but it is not a function");
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
