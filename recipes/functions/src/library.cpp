#include "library.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "polycache/registry.h"

namespace polycache::detail::functions {
namespace {

const FunctionEntry* first_of(const PluginDescriptor& descriptor, std::string_view library) {
  const auto* const content = static_cast<const FunctionLibrary*>(descriptor.payload.data);
  if (content->size >= sizeof(FunctionLibrary) && content->first != nullptr) return *content->first;
  throw PluginError("the library of functions " + quote_path(library) +
                    " has a list that this program does not know; export functions with "
                    "POLYCACHE_FUNCTION");
}

}  // namespace

std::string known_names(std::string_view wanted, std::span<const std::string_view> names) {
  std::string text;
  if (const auto near = nearest(wanted, names)) text = "; did you mean " + quote(*near) + "?";
  if (names.empty()) return text + "; there are none";
  text += text.empty() ? "; there are" : " There are";
  for (const std::string_view& name : names) {
    text += (&name == names.data() ? " " : ", ") + quote(name);
  }
  return text;
}

std::shared_ptr<const FunctionEntry> function_of_library(std::string_view library,
                                                         std::string_view function,
                                                         const CacheRegistry& registry) {
  std::string file(library);
  if (file.ends_with(".so") && file.find('/') == std::string::npos) file.insert(0, "./");
  const PluginDescriptor& descriptor = registry.plugin(PluginKind::functions, file);
  std::vector<std::string_view> names;
  const FunctionEntry* found = nullptr;
  for (const FunctionEntry* entry = first_of(descriptor, library); entry != nullptr;
       entry = entry->next) {
    names.emplace_back(entry->name);
    if (entry->name != function) continue;
    if (found != nullptr) {
      throw PluginError("the library " + quote_path(library) + " exports two functions " +
                        quote(function) + "; rename one of them");
    }
    found = entry;
  }
  if (found == nullptr) {
    std::sort(names.begin(), names.end());
    throw PluginError("the library " + quote_path(library) + " exports no function " +
                      quote(function) + known_names(function, names));
  }
  // Libraries are never unloaded.
  return {std::shared_ptr<const FunctionEntry>(), found};
}

}  // namespace polycache::detail::functions
