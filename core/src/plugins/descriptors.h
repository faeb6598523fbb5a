// Whether a descriptor (author/plugin.h) is one that this program understands.

#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "plugins/library.h"
#include "polycache/author/plugin.h"

namespace polycache {

// "key function".
std::string word_for(PluginKind kind);

// Whether a plugin can have that name: letters, digits, "_" and "-" only.
bool is_word(std::string_view name);

// Throws PluginError unless the descriptor is of that kind. `where` begins the message.
void require_kind(const std::string& where, const PluginDescriptor& descriptor, PluginKind kind);

// The descriptor that a library exports, checked. Throws PluginError.
const PluginDescriptor& descriptor_of(const std::filesystem::path& file, const Library& library);

// The problem of a plugin linked into the program, as the text that follows its name in a sentence.
// Empty: none.
std::string linked_plugin_problem(const PluginDescriptor* descriptor);

}  // namespace polycache
