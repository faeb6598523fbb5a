#include "login.h"

#include <string_view>

#include "server_error.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;

// Whether a server, or whatever answers in its place, repeats the login that it received.
bool repeats_login(std::string_view text, const Endpoint& endpoint) {
  const auto holds = [&](const std::optional<std::string>& part) {
    return part && !part->empty() && text.find(*part) != std::string_view::npos;
  };
  return holds(endpoint.password) || holds(endpoint.user);
}

}  // namespace

void Login::compose(CommandBuffer& commands) const {
  if (endpoint_.password) {
    commands.begin(endpoint_.user ? 3 : 2);
    commands.word("AUTH");
    if (endpoint_.user) commands.word(*endpoint_.user);
    commands.word(*endpoint_.password);
  }
  if (selects()) {
    commands.begin(2);
    commands.word("SELECT");
    commands.number(*endpoint_.database);
  }
}

std::optional<Login::Refusal> Login::refusal_in(std::size_t command, const Element& reply) const {
  if (reply.type != Element::Type::error) return std::nullopt;
  const std::string error(repeats_login(reply.text, endpoint_) ? "an error" : reply.text);
  if (is_closed_door(error)) {
    return Refusal{Kind::overloaded, "the server refuses connections: " + shown_error(error)};
  }
  if (endpoint_.password && command == 0) {
    return Refusal{Kind::denied, "the server refuses user and password: " + shown_error(error)};
  }
  const bool denied = error.starts_with("NOAUTH") || error.starts_with("NOPERM");
  return Refusal{
      denied ? Kind::denied : Kind::storage,
      "cannot use database " + std::to_string(*endpoint_.database) + ": " + shown_error(error)};
}

}  // namespace polycache::redis
