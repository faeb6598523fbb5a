// check_config [--plugins FOLDER]... FILE...: makes the caches that each file says, opens no
// connection, and prints "good" or "bad" and the file, and behind each bad one what is wrong.
// Locations are put where any machine has a place for them, and functions of libraries give way
// to the default one: the documentation's are not here.

#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/polycache.h"

// Their parts of the program claim their sections.
#if __has_include("polycache/loaders.h")
#include "polycache/loaders.h"
[[gnu::used]] static polycache::Loaders& (*const loaders)() = &polycache::global_loaders;
#endif
#if __has_include("polycache/locks.h")
#include "polycache/locks.h"
[[gnu::used]] static bool take(polycache::Lock& lock) { return lock.try_lock(); }
#endif

namespace {

using polycache::Config;

void move_to_this_machine(Config& config) {
  for (auto& [alias, cache] : config.caches) {
    if (cache.backend == "sqlite" || cache.backend == "db") {
      cache.location = {(std::filesystem::temp_directory_path() / "polycache-docs.db").string()};
    }
    if (cache.key_function.find('/') != std::string::npos) cache.key_function = "default";
    if (cache.backend == "folder") {
      cache.location = {(std::filesystem::temp_directory_path() / "polycache-docs").string()};
    }
  }
}

bool check(const std::string& file, const std::vector<std::filesystem::path>& plugins) {
  try {
    Config config = Config::from_file(file);
    move_to_this_machine(config);
    config.plugin_path = plugins;
    const polycache::CacheRegistry registry(std::move(config));
    std::cout << "good " << file << '\n';
    return true;
  } catch (const polycache::ConfigError& error) {
    std::cout << "bad " << file << '\n' << error.what() << '\n';
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::vector<std::filesystem::path> plugins;
    bool good = true;
    for (int i = 1; i < argc; ++i) {
      if (std::string_view(argv[i]) == "--plugins" && i + 1 < argc) {
        plugins.emplace_back(argv[++i]);
      } else {
        good = check(argv[i], plugins) && good;
      }
    }
    return good ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "check_config: " << error.what() << '\n';
    return 2;
  }
}
