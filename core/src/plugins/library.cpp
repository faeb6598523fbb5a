#include "plugins/library.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>

#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>  // missing in Boost 1.74's library_info.hpp

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/library_info.hpp>
#include <boost/dll/shared_library.hpp>

#include "base/cold_mutex.h"
#include "base/no_destructor.h"
#include "base/write_access.h"
#include "plugins/abi_mark.h"
#include "plugins/elf_check.h"
#include "polycache/abi.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

struct Library {
  boost::dll::shared_library handle;
};

namespace {

namespace fs = std::filesystem;
using boost::dll::shared_library;

constexpr std::string_view mark_prefix = ".polycache_abi_";

// The ABI mark of a file that check_elf() has accepted. Boost reads the section names without
// checking that they end; check_elf() makes that safe.
std::string read_mark(const fs::path& file) {
  std::vector<std::string> sections;
  try {
    sections = boost::dll::library_info(file).sections();
  } catch (const std::exception& error) {
    throw PluginError(quote_path(file.native()) + " cannot be read: " + error.what());
  }
  std::set<std::string> marks;
  for (const std::string& section : sections) {
    if (section.starts_with(mark_prefix)) marks.insert(section.substr(mark_prefix.size()));
  }
  if (marks.empty()) {
    throw PluginError(quote_path(file.native()) +
                      " is not a polycache plugin: it has no section \"" +
                      std::string(mark_prefix) +
                      POLYCACHE_ABI "\", which POLYCACHE_PLUGIN or POLYCACHE_ABI_MARK adds");
  }
  if (marks.size() > 1) {
    throw PluginError(quote_path(file.native()) + " has two ABI marks, " + quote(*marks.begin()) +
                      " and " + quote(*marks.rbegin()) +
                      ": it was linked from incompatible objects");
  }
  return *marks.begin();
}

// Accepts a plugin without a sanitizer in a program with one: the program's runtime serves both,
// but checks less of the plugin. In the reverse case the runtime is missing.
void check_mark(const fs::path& file) {
  const std::string mark = read_mark(file);
  const std::string own = POLYCACHE_ABI POLYCACHE_ABI_SANITIZER;
  if (mark == own || mark == POLYCACHE_ABI) return;
  throw PluginError(quote_path(file.native()) +
                    " does not fit this program: " + differences(mark, own) +
                    "; build it with the flags of this program and the headers of polycache " +
                    POLYCACHE_VERSION);
}

// `problem` comes from write_access.h.
[[noreturn]] void refuse_writable(const std::string& what, const std::string& problem) {
  throw PluginError(what + " " + problem +
                    " (to load it anyway, set \"allow_writable_plugins\": true in the "
                    "configuration, or POLYCACHE_ALLOW_WRITABLE_FILES=1 in the environment)");
}

void check_writers(const fs::path& file, WritableFiles writable) {
  if (writable == WritableFiles::allowed || writable_files_allowed()) return;
  const std::string problem = writable_by_others(file);
  if (!problem.empty()) refuse_writable(quote_path(file.native()), problem);
}

// All files ever loaded, by canonical path; only grows. Unloading a library whose code a thread, an
// exception or a deleter still needs would crash, and that cannot be detected. Guarded by
// cold_mutex(), under which the dynamic loader is never called: it may be running a constructor
// that wants this mutex.
struct LoadedFiles {
  std::map<std::string, Library> files;
  std::string loader_lost;  // if not empty: why the dynamic loader must not be called any more
};

LoadedFiles& loaded_files() {
  static NoDestructor<LoadedFiles> loaded;
  return *loaded;
}

// An exception that leaves dlopen() leaves the dynamic loader's lock locked. Any later call into
// the loader may then block forever, in any thread.
void require_loader() {
  LoadedFiles& loaded = loaded_files();
  const std::lock_guard lock(cold_mutex());
  if (loaded.loader_lost.empty()) return;
  throw PluginError("this process cannot load any more plugins: " + loaded.loader_lost);
}

// Records that a static constructor of the file threw. `what` describes the exception.
[[noreturn]] void throw_loader_lost(const fs::path& canonical, const std::string& what) {
  const std::string problem =
      "a static constructor of " + quote_path(canonical.native()) + " threw " + what +
      ", and the dynamic loader's lock stays locked; end this process, and repair or remove "
      "that plugin before the next start";
  LoadedFiles& loaded = loaded_files();
  {
    const std::lock_guard lock(cold_mutex());
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

}  // namespace

const Library* find_loaded(const fs::path& canonical) {
  LoadedFiles& loaded = loaded_files();
  const std::lock_guard lock(cold_mutex());
  const auto found = loaded.files.find(canonical.string());
  return found == loaded.files.end() ? nullptr : &found->second;
}

void check_library(const fs::path& canonical) {
  require_loader();  // check_elf() calls it
  check_elf(canonical);
  check_mark(canonical);
}

void check_folder_writers(const fs::path& folder, WritableFiles writable) {
  if (writable == WritableFiles::allowed || writable_files_allowed()) return;
  const std::string problem = folder_writable_by_others(folder);
  if (!problem.empty()) {
    refuse_writable("the plugin folder " + quote_path(folder.native()), problem);
  }
}

const Library& load_library(const fs::path& file, WritableFiles writable) {
  std::error_code error;
  const fs::path canonical = fs::canonical(file, error);
  if (error) throw PluginError(quote_path(file.native()) + " cannot be opened: " + error.message());
  if (const Library* library = find_loaded(canonical)) return *library;

  require_loader();
  check_writers(file, writable);
  check_library(canonical);
  // Resolves all symbols now: a missing one is an error here, instead of terminating the process at
  // its first call.
  shared_library library;
  if (!run_constructors(canonical) ||
      (library.load(canonical, boost::dll::load_mode::rtld_now, error), error)) {
    throw PluginError(
        quote_path(canonical.native()) + " cannot be loaded: " + loader_message(canonical) +
        "; link the plugin with everything it needs (-Wl,-z,defs checks that at its build)");
  }
  LoadedFiles& loaded = loaded_files();
  Library opened{std::move(library)};  // another thread may have been faster: then closed below
  const std::lock_guard lock(cold_mutex());
  return loaded.files.try_emplace(canonical.string(), std::move(opened)).first->second;
}

std::optional<Symbol> own_symbol(const Library& library, const char* name) {
  require_loader();  // dlsym() takes its lock, too
  void* const address = ::dlsym(library.handle.native(), name);
  if (address == nullptr) return std::nullopt;
  const link_map* searched = nullptr;
  const link_map* found = nullptr;
  const ElfW(Sym)* entry = nullptr;
  Dl_info info{};
  if (::dlinfo(library.handle.native(), RTLD_DI_LINKMAP, static_cast<void*>(&searched)) != 0 ||
      ::dladdr1(address, &info, reinterpret_cast<void**>(const_cast<link_map**>(&found)),
                RTLD_DL_LINKMAP) == 0 ||
      found != searched ||
      ::dladdr1(address, &info, reinterpret_cast<void**>(const_cast<ElfW(Sym)**>(&entry)),
                RTLD_DL_SYMENT) == 0) {
    return std::nullopt;
  }
  const unsigned type = entry == nullptr ? unsigned{STT_NOTYPE} : entry->st_info & 0xfU;
  return Symbol{address, type == STT_OBJECT, type == STT_FUNC};
}

}  // namespace polycache
