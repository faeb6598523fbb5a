// Files from anywhere, checked as plugins: by reading them, and for their ABI mark. Nothing is
// ever loaded, since damage inside code is not what is looked for.

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "plugins/elf_check.h"
#include "plugins/loader.h"
#include "polycache/error.h"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

// A folder in memory, where there is one, with the one file.
struct Folder {
  std::vector<std::filesystem::path> search_path;
  std::filesystem::path file;

  Folder() {
    const bool in_memory = ::access("/dev/shm", W_OK) == 0;
    const std::filesystem::path parent =
        in_memory ? "/dev/shm" : std::filesystem::temp_directory_path();
    std::string name = (parent / "polycache-fuzz-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr, "mkdtemp");
    search_path.emplace_back(name);
    file = search_path.front() / "polycache_fuzzed.so";
  }
  ~Folder() { std::filesystem::remove_all(search_path.front()); }

  void write(const std::uint8_t* data, std::size_t size) const {
    const int out = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(out >= 0, "open");
    require(::write(out, data, size) == static_cast<ssize_t>(size), "write");
    ::close(out);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  folder.write(data, size);
  try {
    polycache::check_elf(folder.file);
  } catch (const polycache::PluginError& error) {
    require(*error.what() != '\0', "an error without a message");
    return 0;
  }
  static_cast<void>(
      polycache::available_plugins(polycache::PluginKind::backend, {}, folder.search_path));
  return 0;
}
