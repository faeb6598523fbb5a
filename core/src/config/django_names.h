// Django's names for what a configuration says, for those who write them by habit.

#pragma once

#include <optional>
#include <string_view>

namespace polycache {

// What to write for a member's Django name, ready for a message: "\"max_entries\" in \"options\"".
std::optional<std::string_view> our_member(std::string_view django) noexcept;

// The same for a backend, by the last part of its dotted path.
std::optional<std::string_view> our_backend(std::string_view django) noexcept;

}  // namespace polycache
