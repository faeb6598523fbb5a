// The meaning of a redis server's errors: "WRONGTYPE Operation against a key ...".

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "polycache/error.h"

namespace polycache::redis {

struct ErrorMeaning {
  std::string_view begins;
  BackendError::Kind kind;
  std::string_view remedy;
};

const ErrorMeaning& meaning_of(std::string_view error) noexcept;

// A server of a cluster said that a key has moved: "MOVED 3999 127.0.0.1:6381".
class KeyMoved final : public BackendError {
 public:
  KeyMoved(int slot, std::string address, std::string server, const std::string& message)
      : BackendError(Kind::storage, std::move(server), message),
        slot_(slot),
        address_(std::move(address)) {}

  int slot() const noexcept { return slot_; }
  const std::string& address() const noexcept { return address_; }

 private:
  int slot_;
  std::string address_;
};

struct Redirection {
  int slot;
  std::string_view address;
};

// Empty if the error is no valid redirection.
std::optional<Redirection> redirection_in(std::string_view error) noexcept;

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
