// What the tests of the loader share: the files that CMake built for them, a folder to put
// copies into, and what a refusal says.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/loader.h"
#include "polycache/error.h"

namespace polycache::testing {

inline std::filesystem::path specimen(std::string_view name) {
  return std::filesystem::path(SPECIMEN_DIR) / ("polycache_" + std::string(name) + ".so");
}

inline std::string read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Made for one test, gone after it.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "polycache_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = std::filesystem::canonical(name);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const noexcept { return path_; }

  std::filesystem::path write(std::string_view name, std::string_view content) const {
    const std::filesystem::path file = path_ / name;
    std::ofstream(file, std::ios::binary)
        .write(content.data(), static_cast<std::streamsize>(content.size()));
    return file;
  }
  std::filesystem::path copy(const std::filesystem::path& from, std::string_view name) const {
    return write(name, read_file(from));
  }

 private:
  std::filesystem::path path_;
};

// By its path.
inline LoadedPlugin load_file(const std::filesystem::path& file,
                              PluginKind kind = PluginKind::backend) {
  return find_plugin(kind, file.string(), {}, {}, {});
}

// What the PluginError of `action` says; a failure of the test if there is none.
template <class Action>
std::string refusal(Action action) {
  try {
    action();
  } catch (const PluginError& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "threw no PluginError, but: " << error.what();
    return {};
  }
  ADD_FAILURE() << "threw nothing";
  return {};
}

inline std::string refusal_of(const std::filesystem::path& file,
                              PluginKind kind = PluginKind::backend) {
  return refusal([&] { load_file(file, kind); });
}

}  // namespace polycache::testing
