// For shared libraries that export functions by name (function.h):
//
//   #include <polycache/function_library.h>
//
//   std::vector<Foo> filter_foos(std::int64_t size, std::string_view colour);
//   POLYCACHE_FUNCTION(filter_foos);
//
// The library needs no other part of polycache than the headers and libpolycache:
// polycache_add_plugin(shop shop.cpp). It exports nothing else of polycache, no store and no layer.
// docs/plugins.md has the rules for such libraries. Programs include function.h instead.

#pragma once

#include <string_view>

#include "polycache/abi.h"
#include "polycache/author/plugin.h"
#include "polycache/detail/function_entry.h"

// The name under which the library is found as a plugin; polycache_add_plugin(NAME ...) gives it.
#ifndef POLYCACHE_PLUGIN_NAME
#define POLYCACHE_PLUGIN_NAME "functions"
#endif

namespace polycache::detail::functions {

// The functions of this library. Hidden, so that each library has its own.
[[gnu::visibility("hidden")]] inline constinit const FunctionEntry* first_exported = nullptr;
[[gnu::visibility("hidden")]] inline constexpr FunctionLibrary exported_library{
    sizeof(FunctionLibrary), 0, &first_exported};
[[gnu::visibility("hidden")]] inline constexpr PluginDescriptor exported_descriptor =
    other_plugin(PluginKind::functions, POLYCACHE_PLUGIN_NAME, "1", &exported_library);

template <auto function>
struct [[gnu::visibility("hidden")]] Exported {
  using F = decltype(function);
  static const F& of(const FunctionEntry&) noexcept {
    static constexpr F f = function;
    return f;
  }

  static inline constinit FunctionEntry entry =
      EntryOf<F, typename memo::ParametersOf<F>::type, &Exported::of>::make("");
};

// The name behind the last "::".
constexpr const char* last_name(const char* name) noexcept {
  const char* last = name;
  for (const char* c = name; *c != '\0'; ++c) {
    if (*c == ':' || *c == ' ' || *c == '&') last = c + 1;
  }
  return last;
}

// Adds a function to the list of its library, while that is loaded. Cannot fail.
template <auto function>
[[gnu::visibility("hidden")]] const FunctionEntry* add_to_library(const char* name) noexcept {
  using F = decltype(function);
  if constexpr (Check<F, typename memo::ParametersOf<F>::type>::fits()) {
    FunctionEntry& entry = Exported<function>::entry;
    if (*entry.name != '\0') return &entry;  // exported twice
    entry.name = last_name(name);
    entry.next = first_exported;
    first_exported = &entry;
  }
  return first_exported;
}

}  // namespace polycache::detail::functions

// Weak, since every file of the library has it. As an inline variable, it would be one for all
// libraries of the process (STB_GNU_UNIQUE).
extern "C" {
[[gnu::weak]] POLYCACHE_API extern const polycache::PluginDescriptor* const polycache_plugin;
const polycache::PluginDescriptor* const polycache_plugin =
    &polycache::detail::functions::exported_descriptor;
}

#define POLYCACHE_FUNCTION_NAME_(a, b) a##b
#define POLYCACHE_FUNCTION_NAME(a, b) POLYCACHE_FUNCTION_NAME_(a, b)

// Exports a function under its own name, without its namespaces. Use it outside every function,
// once for each. Of an overloaded function, export a function of another name that calls it.
#define POLYCACHE_FUNCTION(function)                                              \
  POLYCACHE_ABI_MARK;                                                             \
  [[gnu::used]] static const ::polycache::detail::functions::FunctionEntry* const \
  POLYCACHE_FUNCTION_NAME(polycache_function_, __COUNTER__) =                     \
      ::polycache::detail::functions::add_to_library<(&function)>(#function)
