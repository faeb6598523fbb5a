// What a new connection sends first, if the endpoint has a password or a database. No I/O.

#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "command.h"
#include "endpoint.h"
#include "polycache/error.h"
#include "reply.h"

namespace polycache::redis {

class Login {
 public:
  struct Refusal {
    BackendError::Kind kind;
    std::string message;  // does not repeat user and password, even if the server does
  };

  // `endpoint` must outlive it.
  explicit Login(const Endpoint& endpoint) noexcept : endpoint_(endpoint) {}

  // Adds its commands, of which there may be none.
  void compose(CommandBuffer& commands) const;
  // Why the reply to that command does not admit us; empty if it does.
  std::optional<Refusal> refusal_in(std::size_t command, const Element& reply) const;

 private:
  bool selects() const noexcept { return endpoint_.database.value_or(0) != 0; }

  const Endpoint& endpoint_;
};

}  // namespace polycache::redis
