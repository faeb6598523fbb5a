// Where a redis server is, read from a location of the configuration.

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
  std::shared_ptr<net::TlsClient> tls = {};  // what its connections share, if they are by TLS
  std::optional<std::string> user = {};
  std::optional<std::string> password = {};
  std::optional<int> database = {};

  // "cache.example.org:6379", "[::1]:6379" or "unix:/run/redis.sock": what messages show.
  std::string name() const;
};

// Throws std::invalid_argument with what is wrong, without showing the location.
Endpoint parse_endpoint(std::string_view location);

}  // namespace polycache::redis
