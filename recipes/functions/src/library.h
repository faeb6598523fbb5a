// The functions that libraries export.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "polycache/detail/function_entry.h"

namespace polycache {

class CacheRegistry;

namespace detail::functions {

// `name`: "library:function", cut at the colon. Throws PluginError.
std::shared_ptr<const FunctionEntry> function_of_library(std::string_view library,
                                                         std::string_view function,
                                                         const CacheRegistry& registry);

// "; did you mean "foo"? there are "foo", "bar"".
std::string known_names(std::string_view wanted, std::span<const std::string_view> names);

}  // namespace detail::functions
}  // namespace polycache
