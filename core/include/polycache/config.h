// The caches of a program as plain data, independent of any file format. Build one by hand, or read
// it from JSON (comments allowed; docs/configuration.md is the full reference).
//
//   {
//     "plugin_path": ["plugins"],              // folders, relative to this file
//     "caches": {
//       "default": {
//         "backend": "redis",
//         "location": "redis://127.0.0.1:6379/1",  // or a list; ${NAME}: from the environment
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
#include "polycache/load_options.h"
#include "polycache/options.h"
#include "polycache/policy.h"

namespace polycache {

// Also of a transform.
struct LayerConfig {
  std::string name;
  OptionMap options = {};
};

struct CacheConfig {
  std::string backend = {};                     // name or path of the plugin; required
  std::vector<std::string> location = {};       // defined by the backend
  Timeout timeout = std::chrono::seconds(300);  // used if a call gives none; zero stores nothing
  std::string key_prefix = {};
  int version = 1;
  std::string key_function = "default";  // see key.h
  bool key_warnings = true;
  OnError on_error = {};                 // JSON: "miss", "throw", {"read": …, "write": …}
  ClearScope clear = ClearScope::store;  // JSON: "store", "prefix"
  LoadPolicy load = {};                  // of get_or_set(); see load_options.h
  // How long a read may believe the version of a tag that this process has read: a tag that another
  // process erases is seen so much later, and reads of entries with tags make one request less.
  // This process's own erase_tag() through the alias is seen at once. Zero: off.
  std::chrono::milliseconds tag_version_cache{0};
  std::vector<LayerConfig> layers = {};  // outermost first
  // Change the values themselves (author/transform.h), in the order in which a write applies them.
  std::vector<LayerConfig> transform = {};
  OptionMap options = {};  // defined by the backend
};

// A part of a configuration file that a recipe or the program reads (section.h). Kept as it was
// written.
struct ConfigSection {
  std::string json;         // with comments and ${…}; complete: its braces match
  std::string source = {};  // "caches.json"; empty for a Config made by hand
  int line = 1;             // of its first character
};

struct POLYCACHE_API Config {
  std::map<std::string, CacheConfig, std::less<>> caches = {};
  std::vector<std::filesystem::path> plugin_path = {};
  // Whether to load plugins also from files and folders that others can write to (docs/plugins.md).
  bool allow_writable_plugins = false;
  std::map<std::string, ConfigSection, std::less<>> sections = {};

  // For messages: the place of each member ("caches.default.timeout",
  // "caches.default.layers[0].options.x", "caches.default.location[1]" → "caches.json:12"), the
  // members that must not be shown because they contained ${…} (a whole list, if one of its items
  // did), and the file's folder, the base of relative plugin and key function paths. All empty for
  // a Config made by hand.
  std::map<std::string, std::string, std::less<>> places = {};
  std::set<std::string, std::less<>> hidden = {};
  std::filesystem::path folder = {};

  // For CacheRegistry::reload(): the file that was read, and the changes made by apply() since, in
  // order. Empty for a Config made by hand.
  struct Applied {
    std::string assignment;
    std::string place;
  };
  std::filesystem::path file = {};
  std::vector<Applied> applied = {};

  // Each throws ConfigError, also for a null pointer; it lists every problem with file, line and
  // member.
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

  // Reads the file that POLYCACHE_CONFIG names. If that is unset or empty, returns a Config with
  // one alias, "default", on locmem.
  static Config from_environment();

  // Changes one member of one alias, as a command line does: "default.timeout=60s",
  // "default.location=redis://…", "default.options.max_entries=100". The value is JSON; it is a
  // string if it is not JSON or the member is always a string. ${…} works in it. A missing alias is
  // created. `place` names the origin of the assignment in messages, such as "--cache". Throws
  // ConfigError, and then changes nothing.
  void apply(std::string_view assignment, std::string_view place = "assignment");
  template <detail::PointerText S>
  void apply(S assignment, std::string_view place = "assignment") {
    apply(detail::text_of(assignment), place);
  }
};

}  // namespace polycache
