// The configuration of a memcached store.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "polycache/author/option_reader.h"
#include "polycache/net/connection_pool.h"
#include "polycache/net/tls.h"

namespace polycache::memcached {

struct ServerAddress {
  std::string host;        // or the path of a unix socket
  std::uint16_t port = 0;  // 0: a unix socket
  std::uint32_t weight = 1;
  bool wants_tls = false;
  std::shared_ptr<net::TlsClient> tls = {};  // shared by its connections if they use TLS

  bool is_unix_socket() const noexcept { return port == 0; }
  std::string name() const;  // for messages
};

// Returns the address, or the error as a sentence that continues "caches.x.location: ".
std::variant<ServerAddress, std::string> parse_location(std::string_view location);

enum class Protocol : std::uint8_t { ascii, binary };

struct Settings {
  // Reports errors to `options`, and later problems to `report`.
  Settings(const OptionReader& options, const std::function<void(const Warning&)>& report);

  std::vector<ServerAddress> servers;  // never empty
  Protocol protocol;
  std::string user;
  std::string password;
  std::chrono::milliseconds connect_timeout;
  std::chrono::milliseconds timeout;
  std::size_t max_value_bytes;
  PoolLimits pool;  // of each server
};

}  // namespace polycache::memcached
