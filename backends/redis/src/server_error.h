// The meaning of a redis server's errors: "WRONGTYPE Operation against a key ...".

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

// In quotes, without the parts that repeat a command's arguments or the user's name.
std::string shown_error(std::string_view error);

// The key holds another type. Old servers embed this in an error about the script.
bool is_wrong_type(std::string_view error) noexcept;
bool is_out_of_memory(std::string_view error) noexcept;
// The command itself is denied by access rules, unknown to an old server, or renamed.
bool is_denied_command(std::string_view error) noexcept;
// The server currently refuses connections.
bool is_closed_door(std::string_view error) noexcept;

}  // namespace polycache::redis
