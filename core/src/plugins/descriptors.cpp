#include "plugins/descriptors.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "plugins/abi_mark.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

namespace fs = std::filesystem;

constexpr const char* descriptor_symbol = "polycache_plugin";

// The size in the first version of this ABI. Fields appended since are read only if `size` includes
// them.
constexpr std::size_t smallest_descriptor =
    offsetof(PluginDescriptor, payload) + sizeof(PluginPayload);

// Checks that this program understands `descriptor`, field after field: before `size` and the ABI
// are accepted, nothing is known about the other fields. `where` begins every message.
void check_descriptor(const std::string& where, const PluginDescriptor& descriptor) {
  const auto fail = [&](const std::string& what) { throw PluginError(where + " " + what); };
  if (std::memcmp(descriptor.magic, "plycache", sizeof(descriptor.magic)) != 0) {
    fail("has no polycache descriptor at \"polycache_plugin\"; write POLYCACHE_PLUGIN(...)");
  }
  if (descriptor.size < smallest_descriptor) {
    fail("has a descriptor of " + std::to_string(descriptor.size) + " bytes, this program needs " +
         std::to_string(smallest_descriptor) + ": build it with the headers of polycache " +
         POLYCACHE_VERSION);
  }
  if (descriptor.abi_version != POLYCACHE_ABI_VERSION || descriptor.abi == nullptr ||
      std::string_view(descriptor.abi) != POLYCACHE_ABI) {
    const std::string theirs = descriptor.abi == nullptr ? "" : descriptor.abi;
    fail("does not fit this program: " + differences(theirs, POLYCACHE_ABI) +
         "; build it with the flags of this program and the headers of polycache " +
         POLYCACHE_VERSION);
  }
  if (descriptor.name == nullptr || !is_word(descriptor.name)) {
    fail("has an invalid name: a name has letters, digits, \"_\" and \"-\" only");
  }
  const auto require = [&](bool is_there) {
    if (!is_there) fail("has a descriptor without its function");
  };
  switch (descriptor.kind) {
    case PluginKind::backend:
    case PluginKind::layer:
      return require(descriptor.payload.create != nullptr);
    case PluginKind::key_function:
      return require(descriptor.payload.key_function != nullptr);
    case PluginKind::transform:
      return require(descriptor.payload.transform != nullptr);
    case PluginKind::functions:
      break;
  }
  if (descriptor.payload.data == nullptr) fail("has a descriptor without its data");
}

}  // namespace

std::string word_for(PluginKind kind) {
  switch (kind) {
    case PluginKind::backend:
      return "backend";
    case PluginKind::layer:
      return "layer";
    case PluginKind::key_function:
      return "key function";
    case PluginKind::transform:
      return "transform";
    case PluginKind::functions:
      return "library of functions";
  }
  return "plugin of kind " + std::to_string(static_cast<std::uint32_t>(kind));
}

bool is_word(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

void require_kind(const std::string& where, const PluginDescriptor& descriptor, PluginKind kind) {
  if (descriptor.kind == kind) return;
  throw PluginError(where + " is a " + word_for(descriptor.kind) + " (" + quote(descriptor.name) +
                    "), but a " + word_for(kind) + " is expected here");
}

const PluginDescriptor& descriptor_of(const fs::path& file, const Library& library) {
  const auto symbol = own_symbol(library, descriptor_symbol);
  if (!symbol || !symbol->is_object) {
    throw PluginError(quote_path(file.native()) +
                      " has polycache's ABI mark, but does not export \"polycache_plugin\"; write "
                      "POLYCACHE_PLUGIN(...) once, outside every namespace");
  }
  // A hand-written symbol may be the struct itself instead of a pointer to it.
  const PluginDescriptor* descriptor = nullptr;
  std::memcpy(&descriptor, symbol->address, sizeof(descriptor));
  if (descriptor == nullptr || std::memcmp(symbol->address, "plycache", 8) == 0) {
    throw PluginError(quote_path(file.native()) +
                      " exports \"polycache_plugin\", but not as the address of a descriptor; "
                      "write POLYCACHE_PLUGIN(...)");
  }
  check_descriptor(quote_path(file.native()), *descriptor);
  return *descriptor;
}

std::string linked_plugin_problem(const PluginDescriptor* descriptor) {
  if (descriptor == nullptr) return "is null";
  try {
    check_descriptor("", *descriptor);
    return {};
  } catch (const PluginError& error) {
    const bool has_name = std::memcmp(descriptor->magic, "plycache", 8) == 0 &&
                          descriptor->size >= offsetof(PluginDescriptor, plugin_version) &&
                          descriptor->name != nullptr && is_word(descriptor->name);
    return (has_name ? quote(descriptor->name) : "it") + error.what();
  }
}

}  // namespace polycache
