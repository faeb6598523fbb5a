// What the errors of a redis server mean: "WRONGTYPE Operation against a key ...".

#pragma once

#include <string>
#include <string_view>

#include "polycache/error.h"

namespace polycache::redis {

struct ErrorMeaning {
  std::string_view begins;
  BackendError::Kind kind;
  std::string_view remedy;
};

const ErrorMeaning& meaning_of(std::string_view error) noexcept;

// In quotes, without what the server repeats of a command's arguments, or of the user's name.
std::string shown_error(std::string_view error);

// A key of another type. Old servers put it into a sentence about the script.
bool is_wrong_type(std::string_view error) noexcept;
bool is_out_of_memory(std::string_view error) noexcept;
// The command itself, by the server's rules, by its age, or since it was renamed.
bool is_denied_command(std::string_view error) noexcept;
// It lets nobody in, at the moment.
bool is_closed_door(std::string_view error) noexcept;

}  // namespace polycache::redis
