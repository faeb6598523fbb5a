#include "arguments.h"

#include <ostream>
#include <stdexcept>
#include <string_view>

namespace package_facts {

namespace {

constexpr std::string_view kUsage =
    R"(usage: package_facts [options] [ALIAS...]

For every installed package: all packages it needs, what they occupy, and who asks for it.
Computes this without a cache, then twice through get_or_set on each ALIAS (first on an
empty cache, then on a full one), compares the results, and prints how long each took.
Without ALIAS: "default".

  --all                 every alias of the configuration; those that do not work (a server
                        that is not there) are named and left out
  --show PACKAGE        print the facts of one package, through the first alias
  --database FILE       package database to read [/var/lib/dpkg/status]
  --cache-config FILE   configuration of the caches [the file that POLYCACHE_CONFIG names]
  --cache ASSIGNMENT    change one member of it: default.timeout=60s; may be repeated
  --help                this text
)";

// What is written after an option: "--name VALUE" or "--name=VALUE".
class Reader {
 public:
  Reader(int argc, const char* const* argv) : rest_(argv + 1, argv + argc) {}

  bool at_end() const { return next_ == rest_.size(); }
  std::string_view peek() const { return rest_[next_]; }
  std::string_view take() { return rest_[next_++]; }

  // Takes the option and its value if it is the one of that name.
  std::optional<std::string> take_value_of(std::string_view name) {
    const std::string_view word = peek();
    if (!word.starts_with(name)) return std::nullopt;
    if (word.size() > name.size()) {
      if (word[name.size()] != '=') return std::nullopt;
      return std::string(take().substr(name.size() + 1));
    }
    take();
    if (at_end()) throw std::runtime_error(std::string(name) + " needs a value; see --help");
    return std::string(take());
  }

 private:
  std::vector<std::string_view> rest_;
  std::size_t next_ = 0;
};

void check(const Arguments& arguments) {
  for (const std::string& alias : arguments.aliases) {
    if (!arguments.config.caches.contains(alias)) {
      std::string known;
      for (const auto& [name, cache] : arguments.config.caches)
        known += (known.empty() ? "" : ", ") + name;
      throw std::runtime_error("there is no alias \"" + alias + "\" in the configuration; it has " +
                               known);
    }
  }
}

}  // namespace

std::optional<Arguments> read_arguments(int argc, const char* const* argv, std::ostream& out) {
  Arguments arguments{.database = "/var/lib/dpkg/status"};
  std::string config_file;
  std::vector<std::string> assignments;
  for (Reader reader(argc, argv); !reader.at_end();) {
    if (reader.peek() == "--help" || reader.peek() == "-h") {
      out << kUsage;
      return std::nullopt;
    }
    if (const auto file = reader.take_value_of("--cache-config")) {
      config_file = *file;
    } else if (const auto assignment = reader.take_value_of("--cache")) {
      assignments.push_back(*assignment);
    } else if (const auto database = reader.take_value_of("--database")) {
      arguments.database = *database;
    } else if (const auto package = reader.take_value_of("--show")) {
      arguments.show = *package;
    } else if (reader.peek() == "--all") {
      reader.take();
      arguments.all = true;
    } else if (reader.peek().starts_with('-')) {
      throw std::runtime_error("unknown option \"" + std::string(reader.peek()) + "\"; see --help");
    } else {
      arguments.aliases.emplace_back(reader.take());
    }
  }
  arguments.config = config_file.empty() ? polycache::Config::from_environment()
                                         : polycache::Config::from_file(config_file);
  for (const std::string& assignment : assignments) arguments.config.apply(assignment);
  if (arguments.all) {
    for (const auto& [alias, cache] : arguments.config.caches) arguments.aliases.push_back(alias);
  } else if (arguments.aliases.empty()) {
    arguments.aliases.emplace_back("default");
  }
  check(arguments);
  return arguments;
}

}  // namespace package_facts
