// The configuration of a memcached store.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "endpoint.h"
#include "polycache/author/option_reader.h"
#include "polycache/net/connection_pool.h"
#include "polycache/warning.h"

namespace polycache::memcached {

enum class Protocol : std::uint8_t { ascii, binary };

struct Settings {
  // Reports errors to `options`, and later problems to `report`.
  Settings(const OptionReader& options, const std::function<void(const Warning&)>& report);

  std::vector<Endpoint> endpoints;  // never empty
  Protocol protocol;
  std::string user;
  std::string password;
  std::chrono::milliseconds connect_timeout;
  std::chrono::milliseconds timeout;
  std::size_t max_value_bytes;
  PoolLimits pool;  // of each server
};

}  // namespace polycache::memcached
