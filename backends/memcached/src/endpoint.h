// The address of a memcached server, parsed from a location of the configuration.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "polycache/net/tls.h"

namespace polycache::memcached {

inline constexpr std::uint16_t default_port = 11211;

struct Endpoint {
  std::string host;        // or the path of a unix socket
  std::uint16_t port = 0;  // 0: a unix socket
  std::uint32_t weight = 1;
  bool wants_tls = false;
  std::shared_ptr<net::TlsClient> tls = {};  // shared by its connections if they use TLS

  bool is_unix_socket() const noexcept { return port == 0; }
  std::string name() const;  // for messages
};

// Throws std::invalid_argument with a description of the error that does not show the location.
Endpoint parse_endpoint(std::string_view location);

}  // namespace polycache::memcached
