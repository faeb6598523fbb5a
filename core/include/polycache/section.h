// A section is a part of the configuration file that belongs to a recipe or to the program, not to
// the core: a member of the file's object, next to "caches", whose value is an object or a list.
//
//   {
//     "caches": {"default": {"backend": "locmem"}},
//     "loaders": {"users": {"command": "get-user", "expires": "5m"}}
//   }
//
// The owner claims it by name, so that a registry accepts it, and reads it with the conversions,
// ${...} and messages that options have:
//
//   std::vector<Loader> read_loaders(polycache::SectionReader& section) {
//     std::vector<Loader> loaders;
//     for (const polycache::SectionReader& loader : section.objects()) {
//       loaders.push_back({loader.name(), loader.string("command", ""),
//                          loader.duration("expires", 300s)});
//     }
//     return loaders;
//   }
//
//   polycache::register_section("loaders", [](auto& section) { read_loaders(section); });
//   ...
//   polycache::SectionReader section = registry.section("loaders");
//   const std::vector<Loader> loaders = read_loaders(section);
//   section.finish();

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/option_reader.h"
#include "polycache/detail/export.h"

namespace polycache {

struct Config;
class ConfigProblems;

// Reads one object of a section: the section itself, or one inside it. A problem does not stop the
// reading: it is recorded, the fallback is returned, and finish() throws all of them. Copies read
// the same object. Not thread-safe.
class POLYCACHE_API SectionReader {
 public:
  // Reads the section of that name; if there is none, it reads like an empty object.
  SectionReader(const Config& config, std::string_view name);

  // Whether the file has it.
  bool exists() const noexcept;
  // The name of this object: that of the section, of the member, or "[2]" in a list.
  const std::string& name() const noexcept;
  // The full name of a member, for messages: "loaders.users.command".
  std::string member(std::string_view name) const;
  // Whether this object has a member of that name, of any kind but null.
  bool has(std::string_view name) const noexcept;

  // Members that are a value or a list of strings, as OptionReader reads options: each function
  // returns the value, or `fallback` if it is absent or wrong.
  bool boolean(std::string_view name, bool fallback) const;
  std::int64_t integer(std::string_view name, std::int64_t fallback,
                       std::int64_t min = std::numeric_limits<std::int64_t>::min(),
                       std::int64_t max = std::numeric_limits<std::int64_t>::max()) const;
  double number(std::string_view name, double fallback) const;
  std::string string(std::string_view name, std::string_view fallback) const;
  std::vector<std::string> strings(std::string_view name) const;
  std::chrono::milliseconds duration(
      std::string_view name, std::chrono::milliseconds fallback,
      std::chrono::milliseconds min = std::chrono::milliseconds(1)) const;
  std::int64_t bytes(std::string_view name, std::int64_t fallback, std::int64_t min = 0) const;
  std::string choice(std::string_view name, std::initializer_list<std::string_view> words,
                     std::string_view fallback) const;

  // A member that is an object. If it is absent, the result does not exist().
  SectionReader object(std::string_view name) const;
  // All members that are objects, in the order of the file. Of a section that is a list: its items.
  std::vector<SectionReader> objects() const;
  // The items of a member that is a list of objects.
  std::vector<SectionReader> objects(std::string_view name) const;

  // Records a problem with a member, or with this object if the name is empty.
  void reject(std::string_view name, std::string_view problem) const;

  // Records a problem for each member that was never read, then throws a ConfigError with every
  // problem of the section, each with its file and line. Call it after the last read.
  void finish();

 private:
  friend class SectionCheckRun;
  struct Node;
  struct Tree;

  SectionReader(std::shared_ptr<Tree> tree, Node* node) noexcept;
  bool is_value(std::string_view name) const;

  std::shared_ptr<Tree> tree_;
  Node* node_;
};

// Reads a section to find its problems. A registry runs it before it installs a configuration, also
// one without that section, so that a wrong section is reported together with every other problem
// and changes nothing. What it throws as ConfigError is a problem, too. It must use no registry and
// no cache: a lock is held.
using SectionCheck = std::function<void(SectionReader& section)>;

// Claims a section for the whole process; Environment::sections claims it for one registry. Without
// a check, its content is not looked at. Throws ConfigError if the name is empty or taken.
// Thread-safe.
POLYCACHE_API void register_section(std::string name, SectionCheck check = {});

}  // namespace polycache
