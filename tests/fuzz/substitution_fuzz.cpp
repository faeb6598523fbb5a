// Strings with ${...} from anywhere. No problem shows what a variable or a file holds; a
// string without "${" stays as it is; without a variable nothing of the secret comes out.

#include "config/substitution.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view planted_secret = "planted-5ecret";

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

// A folder with one secret file, for the life of the process.
struct Folder {
  std::filesystem::path path;

  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "polycache-fuzz-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr, "mkdtemp");
    path = name;
    std::ofstream(path / "s") << planted_secret << '\n';
    require(::setenv("S", std::string(planted_secret).c_str(), 1) == 0, "setenv");
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

// A file of this machine may never end.
bool leaves_the_folder(std::string_view text) {
  return text.find("file:/") != std::string_view::npos ||
         text.find("..") != std::string_view::npos || text.find('\0') != std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (leaves_the_folder(text)) return 0;
  const polycache::Substituted result = polycache::substitute(text, folder.path);
  if (text.find(planted_secret) != std::string_view::npos) return 0;
  require(result.problem.find(planted_secret) == std::string::npos, "a secret is in a problem");
  require(result.changed || result.text.find(planted_secret) == std::string::npos,
          "a secret came out unnoticed");
  if (text.find("${") == std::string_view::npos) {
    require(result.text == text && !result.changed && result.problem.empty(),
            "a plain string did not stay as it is");
  }
  return 0;
}
