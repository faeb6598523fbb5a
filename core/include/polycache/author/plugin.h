// How a shared library says what it brings to polycache. The library that holds the
// code defines a descriptor; the file that becomes the plugin exports it:
//
//   // backends/mine/mine.cpp
//   const polycache::PluginDescriptor mine::plugin =
//       polycache::backend_plugin("mine", "1.0", create_mine);
//
//   // plugins/mine.cpp
//   POLYCACHE_PLUGIN(mine::plugin);
//
// A program that links the library instead gives &mine::plugin to
// Environment::linked_plugins; any number of them can be linked together.
//
// Rules for plugins:
//  - once loaded, a plugin is never unloaded;
//  - no objects with static storage duration and a non-trivial destructor;
//  - no static constructor that throws: it would leave the dynamic loader locked for good;
//  - let exceptions derived from CacheError fly; translate what your client library
//    throws into BackendError.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "polycache/abi.h"
#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/error.h"

namespace polycache {

enum class PluginKind : std::uint32_t { backend = 1, layer = 2, key_function = 3 };

using CreateFactory = std::unique_ptr<BackendFactory> (*)(const OptionReader& options,
                                                          const BackendContext& context);
using PluginKeyFunction = void (*)(std::string& out, std::string_view key, std::string_view prefix,
                                   int version);

// Key functions: all final keys of one prefix and version begin with the same text, as the
// default function's do ("prefix:version:"), so "clear": "prefix" works.
inline constexpr std::uint32_t kKeepsHead = 1;

// What a plugin brings; which member counts is decided by the kind. A kind to come points with
// `data` to a struct of its own, so that it needs no new member.
union PluginPayload {
  CreateFactory create;            // backend, layer: throws ConfigError if the options are wrong
  PluginKeyFunction key_function;  // key_function
  const void* data;
};

// The layout is frozen: fields are only ever appended, and a reader looks at no field beyond
// `size`, so that a plugin with a shorter descriptor stays one. Everything before `payload` is
// plain C, and is read and accepted before anything after it is.
struct PluginDescriptor {
  char magic[8];              // "plycache", not null-terminated
  std::uint32_t size;         // of this struct, as the plugin saw it
  std::uint32_t abi_version;  // POLYCACHE_ABI_VERSION
  PluginKind kind;
  std::uint32_t flags;          // see below
  const char* abi;              // POLYCACHE_ABI, e.g. "1_libstdcxx_1"
  const char* library_version;  // POLYCACHE_VERSION of the headers it was built with
  const char* compiler;         // for messages only
  const char* name;             // the word in the configuration file
  const char* plugin_version;   // for messages only
  PluginPayload payload;
};

namespace detail {
constexpr PluginDescriptor describe_plugin(PluginKind kind, const char* name, const char* version,
                                           PluginPayload payload, std::uint32_t flags) noexcept {
  return {{'p', 'l', 'y', 'c', 'a', 'c', 'h', 'e'},
          sizeof(PluginDescriptor),
          POLYCACHE_ABI_VERSION,
          kind,
          flags,
          POLYCACHE_ABI,
          POLYCACHE_VERSION,
          __VERSION__,
          name,
          version,
          payload};
}
}  // namespace detail

// REQUIRES (all three): name and version are string literals; name is a word of letters,
// digits and '_'; the function is not null.
constexpr PluginDescriptor backend_plugin(const char* name, const char* version,
                                          CreateFactory create) noexcept {
  return detail::describe_plugin(PluginKind::backend, name, version, {.create = create}, 0);
}

constexpr PluginDescriptor layer_plugin(const char* name, const char* version,
                                        CreateFactory create) noexcept {
  return detail::describe_plugin(PluginKind::layer, name, version, {.create = create}, 0);
}

constexpr PluginDescriptor key_function_plugin(const char* name, const char* version,
                                               PluginKeyFunction function,
                                               std::uint32_t flags = 0) noexcept {
  return detail::describe_plugin(PluginKind::key_function, name, version,
                                 {.key_function = function}, flags);
}

}  // namespace polycache

// Exports a descriptor as `polycache_plugin` and puts the ABI mark into the file. Once per
// shared library, at namespace scope, outside every namespace.
#define POLYCACHE_PLUGIN(descriptor)                                                    \
  POLYCACHE_ABI_MARK;                                                                   \
  extern "C" POLYCACHE_API const ::polycache::PluginDescriptor* const polycache_plugin; \
  const ::polycache::PluginDescriptor* const polycache_plugin = &(descriptor)
