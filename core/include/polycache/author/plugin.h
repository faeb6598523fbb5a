// How a shared library declares what it adds to polycache. The library that contains the code
// defines a descriptor; the file that becomes the plugin exports it:
//
//   // backends/mine/mine.cpp
//   const polycache::PluginDescriptor mine::plugin =
//       polycache::backend_plugin("mine", "1.0", create_mine);
//
//   // plugins/mine.cpp
//   POLYCACHE_PLUGIN(mine::plugin);
//
// A program that links the library instead adds &mine::plugin to Environment::linked_plugins; any
// number of plugins can be linked together.
//
// Rules for plugins:
//  - once loaded, a plugin is never unloaded;
//  - no objects with static storage duration and a non-trivial destructor;
//  - no static constructor that throws: it would leave the dynamic loader locked for ever;
//  - let exceptions derived from CacheError propagate; translate those of your client library into
//    BackendError.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "polycache/abi.h"
#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/transform.h"
#include "polycache/error.h"

namespace polycache {

// Numbers up to 999 belong to polycache. A program that loads plugins of a kind of its own
// (CacheRegistry::plugin) chooses a greater one.
enum class PluginKind : std::uint32_t {
  backend = 1,
  layer = 2,
  key_function = 3,
  transform = 4,
  functions = 5,  // of the recipe polycache/function.h, which the core does not call
};

using CreateFactory = std::unique_ptr<BackendFactory> (*)(const OptionReader& options,
                                                          const BackendContext& context);
using CreateTransform = std::unique_ptr<Transform> (*)(const OptionReader& options,
                                                       const BackendContext& context);
using PluginKeyFunction = void (*)(std::string& out, std::string_view key, std::string_view prefix,
                                   int version);

// Key functions only: all final keys of one prefix and version begin with the same text, as those
// of the default function do ("prefix:version:"), so that "clear": "prefix" works.
inline constexpr std::uint32_t keeps_head = 1;

// The content of a plugin; the kind determines which member is valid. A kind that is not listed
// here points `data` at its own struct and so needs no new member.
union PluginPayload {
  CreateFactory create;            // backend, layer: throws ConfigError if the options are wrong
  PluginKeyFunction key_function;  // key_function
  CreateTransform transform;       // transform: throws ConfigError if the options are wrong
  const void* data;
};

// The layout is frozen. Fields are only ever appended, and a reader reads no field beyond `size`,
// so that a plugin with a shorter descriptor remains valid. Everything before `payload` is plain C;
// the loader reads and accepts it before it reads anything after it.
struct PluginDescriptor {
  char magic[8];              // "plycache", not null-terminated
  std::uint32_t size;         // of this struct, as compiled into the plugin
  std::uint32_t abi_version;  // POLYCACHE_ABI_VERSION
  PluginKind kind;
  std::uint32_t flags;          // keeps_head, or 0
  const char* abi;              // POLYCACHE_ABI, e.g. "1_libstdcxx_1"
  const char* library_version;  // POLYCACHE_VERSION of the headers it was built with
  const char* compiler;         // for messages only
  const char* name;             // its name in configuration files
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

// REQUIRES (all): name and version are string literals; name is a word of letters,
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

constexpr PluginDescriptor transform_plugin(const char* name, const char* version,
                                            CreateTransform create) noexcept {
  return detail::describe_plugin(PluginKind::transform, name, version, {.transform = create}, 0);
}

// Of a kind that polycache does not know; `data` is not null, and its type is the kind's own.
constexpr PluginDescriptor other_plugin(PluginKind kind, const char* name, const char* version,
                                        const void* data) noexcept {
  return detail::describe_plugin(kind, name, version, {.data = data}, 0);
}

}  // namespace polycache

// Exports a descriptor as `polycache_plugin` and puts the ABI mark into the file. Use it once per
// shared library, at namespace scope, outside every namespace.
#define POLYCACHE_PLUGIN(descriptor)                                                    \
  POLYCACHE_ABI_MARK;                                                                   \
  extern "C" POLYCACHE_API const ::polycache::PluginDescriptor* const polycache_plugin; \
  const ::polycache::PluginDescriptor* const polycache_plugin = &(descriptor)
