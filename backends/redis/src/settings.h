// The configuration of a redis store.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

#include "endpoint.h"
#include "polycache/author/option_reader.h"
#include "polycache/net/connection_pool.h"
#include "polycache/warning.h"

namespace polycache::redis {

struct Limits {
  std::chrono::milliseconds connect{500};
  std::chrono::milliseconds operation{1000};
  std::size_t max_value_bytes = 512U << 20U;
};

struct Settings {
  // Reports errors to `options`, and later problems to `report`.
  Settings(const OptionReader& options, const std::function<void(const Warning&)>& report);

  Limits limits;
  PoolLimits pool;  // of each server
  std::vector<Endpoint> endpoints;
};

}  // namespace polycache::redis
