// The key functions that the program registered by name.

#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "polycache/key.h"

namespace polycache {

// Empty if there is none of that name. Thread-safe.
std::optional<KeyFunction> registered_key_function(std::string_view name);

std::vector<std::string> registered_key_functions();

}  // namespace polycache
