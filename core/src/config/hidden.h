// The members whose values must not be shown.

#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

namespace polycache {

// The rest of the names that begin with `start`: "caches.default.options.".
inline std::set<std::string, std::less<>> hidden_under(
    const std::set<std::string, std::less<>>& hidden, std::string_view start) {
  std::set<std::string, std::less<>> names;
  for (auto it = hidden.lower_bound(start); it != hidden.end() && it->starts_with(start); ++it) {
    names.insert(it->substr(start.size()));
  }
  return names;
}

}  // namespace polycache
