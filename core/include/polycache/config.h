// What the caches of a program are. Plain data, independent of any file format: build one
// by hand, or read it from JSON (comments allowed; docs/configuration.md says all of it).
//
//   {
//     "plugin_path": ["plugins"],              // folders, relative to this file
//     "caches": {
//       "default": {
//         "backend": "redis",
//         "location": "redis://127.0.0.1:6379/1",  // or a list; ${NAME} is the environment's
//         "timeout": "5m",                      // or seconds, or null: never
//         "key_prefix": "shop",
//         "version": 1,
//         "on_error": "miss",                   // or "throw"
//         "options": {"connect_timeout": "250ms"}
//       }
//     }
//   }
//
//   Config config{.caches = {{"default", {.backend = "locmem", .timeout = 60s}}}};

#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/option_reader.h"
#include "polycache/detail/export.h"
#include "polycache/detail/null_text.h"
#include "polycache/options.h"

namespace polycache {

enum class ErrorPolicy : unsigned char { miss, throw_error };

// What an operation does when its store fails. erase, pop, clear, counters and
// incr_version, and a set that means erase, always throw.
struct OnError {
  ErrorPolicy read = ErrorPolicy::miss;   // get, get_many, contains, visit: a miss
  ErrorPolicy write = ErrorPolicy::miss;  // set, set_many, add, touch: false
};

enum class ClearScope : unsigned char { store, prefix };

struct LayerConfig {
  std::string name;
  OptionMap options = {};
};

struct CacheConfig {
  std::string backend = {};                     // name of the plugin, or a path; required
  std::vector<std::string> location = {};       // meaning is the backend's
  Timeout timeout = std::chrono::seconds(300);  // when a call gives none; zero: keep nothing
  std::string key_prefix = {};
  int version = 1;
  std::string key_function = "default";  // see key.h
  bool key_warnings = true;
  OnError on_error = {};                 // JSON: "miss", "throw", {"read": …, "write": …}
  ClearScope clear = ClearScope::store;  // JSON: "store", "prefix"
  std::vector<LayerConfig> layers = {};  // outermost first
  OptionMap options = {};                // meaning is the backend's
};

// A part of a configuration file that belongs to a recipe ("loaders", "queries"): kept as
// it stands, with its place, and read by that recipe.
struct ConfigSection {
  std::string json;   // with its comments and its ${…}; whole: the braces do match
  std::string place;  // "caches.json:30": where its first character stands
};

struct POLYCACHE_API Config {
  std::map<std::string, CacheConfig, std::less<>> caches = {};
  std::vector<std::filesystem::path> plugin_path = {};
  // Also loads plugins from files and folders that others can write to (docs/plugins.md).
  bool allow_writable_plugins = false;
  std::map<std::string, ConfigSection, std::less<>> sections = {};

  // For messages: where each member stands ("caches.default.timeout",
  // "caches.default.layers[0].options.x", "caches.default.location[1]" → "caches.json:12"),
  // which members must not be shown since ${…} was in them (a list, if in one of its items),
  // and the file's folder, which relative plugin and key function paths start from. All
  // empty for a Config made by hand.
  std::map<std::string, std::string, std::less<>> places = {};
  std::set<std::string, std::less<>> hidden = {};
  std::filesystem::path folder = {};

  // For CacheRegistry::reload(): the file that was read, and what apply() changed since, in
  // order. Empty for a Config made by hand.
  struct Applied {
    std::string assignment;
    std::string place;
  };
  std::filesystem::path file = {};
  std::vector<Applied> applied = {};

  // Each throws ConfigError that lists every problem with file, line and member; also for a
  // null pointer.
  static Config from_file(const std::filesystem::path& file);
  static Config from_json(std::string_view text, std::string_view source_name = "<string>");
  template <detail::PointerText S>
  static Config from_file(S file) {
    return from_file(std::filesystem::path(detail::text_of(file)));
  }
  template <detail::PointerText S>
  static Config from_json(S text, std::string_view source_name = "<string>") {
    return from_json(detail::text_of(text), source_name);
  }

  // The file that POLYCACHE_CONFIG names; if that is unset or empty, one alias, "default",
  // on locmem.
  static Config from_environment();

  // Changes one member of one alias, as a command line does: "default.timeout=60s",
  // "default.location=redis://…", "default.options.max_entries=100". The value is JSON, or
  // taken as a string where it is not JSON or the member is always one; ${…} works in it. An
  // alias that is not there is made. `place` says in messages where this was written, such as
  // "--cache". Throws ConfigError, and then changes nothing.
  void apply(std::string_view assignment, std::string_view place = "assignment");
  template <detail::PointerText S>
  void apply(S assignment, std::string_view place = "assignment") {
    apply(detail::text_of(assignment), place);
  }
};

}  // namespace polycache
