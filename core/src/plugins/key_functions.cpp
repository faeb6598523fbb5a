#include "plugins/key_functions.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/cold_mutex.h"
#include "base/no_destructor.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

using KeyFunctions = std::map<std::string, KeyFunction, std::less<>>;

// Guarded by cold_mutex().
KeyFunctions& key_functions() {
  static NoDestructor<KeyFunctions> functions;
  return *functions;
}

}  // namespace

void register_key_function(std::string name, KeyFunction function) {
  if (name.empty() || !function) {
    throw ConfigError("register_key_function: a name and a function are needed");
  }
  const std::lock_guard lock(cold_mutex());
  KeyFunctions& functions = key_functions();
  if (name == "default" || functions.contains(name)) {
    throw ConfigError("register_key_function: the name " + quote(name) +
                      " is taken; choose another one");
  }
  functions.emplace(std::move(name), std::move(function));
}

std::optional<KeyFunction> registered_key_function(std::string_view name) {
  const std::lock_guard lock(cold_mutex());
  KeyFunctions& functions = key_functions();
  const auto it = functions.find(name);
  if (it == functions.end()) return std::nullopt;
  return it->second;
}

std::vector<std::string> registered_key_functions() {
  const std::lock_guard lock(cold_mutex());
  KeyFunctions& functions = key_functions();
  std::vector<std::string> names;
  for (const auto& [name, function] : functions) names.push_back(name);
  return names;
}

}  // namespace polycache
