// Where a redis server is, read from a location of the configuration.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace polycache::redis {

// PEM files. A client has a certificate only where the server asks for one.
struct TlsFiles {
  std::string ca;
  std::string certificate;
  std::string key;
};

struct Endpoint {
  std::string host;    // empty: a unix socket
  std::string port;    // in digits
  std::string socket;  // path
  bool tls = false;
  TlsFiles tls_files = {};
  std::optional<std::string> user = {};
  std::optional<std::string> password = {};
  std::optional<int> database = {};

  // "cache.example.org:6379", "[::1]:6379" or "unix:/run/redis.sock": what messages show.
  std::string name() const;
};

// Throws std::invalid_argument with what is wrong, without showing the location.
Endpoint parse_endpoint(std::string_view location);

}  // namespace polycache::redis
