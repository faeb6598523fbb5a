// The address of a redis server, parsed from a location of the configuration.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "polycache/net/tls.h"

namespace polycache::redis {

struct Endpoint {
  std::string host;    // empty: a unix socket
  std::string port;    // in digits
  std::string socket;  // path
  bool wants_tls = false;
  std::shared_ptr<net::TlsClient> tls = {};  // shared by its connections if they use TLS
  std::optional<std::string> user = {};
  std::optional<std::string> password = {};
  std::optional<int> database = {};

  // The name for messages: "cache.example.org:6379", "[::1]:6379" or "unix:/run/redis.sock".
  std::string name() const;
};

// Throws std::invalid_argument with a description of the error that does not show the location.
Endpoint parse_endpoint(std::string_view location);

}  // namespace polycache::redis
