// The problems of one alias, with the places of the members that they concern.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "config/problems.h"
#include "polycache/config.h"

namespace polycache {

class AliasProblems {
 public:
  // `config` must outlive the object: its places are read when a problem is noted.
  explicit AliasProblems(const Config& config) noexcept : config_(config) {}

  // `member` is a full name, "caches.default.options.max_entries".
  void note(std::string_view member, std::string_view problem);
  // The same for what is a PluginError rather than a ConfigError.
  void note_of_plugin(std::string_view member, std::string_view problem);

  bool empty() const noexcept { return problems_.empty(); }
  std::size_t size() const noexcept { return problems_.size(); }
  // Whether all of them are of plugins; true if there is none.
  bool only_plugins() const noexcept;

  void add_to(ConfigProblems& problems) const;

 private:
  struct Problem {
    std::string place;  // "caches.json:12", or empty
    std::string member;
    std::string text;
    bool plugin;
  };

  std::string place_of(std::string_view member) const;

  const Config& config_;
  std::vector<Problem> problems_;
};

}  // namespace polycache
