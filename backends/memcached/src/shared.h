// What the sessions of one alias share. Thread-safe.

#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "libmemcached.h"
#include "polycache/author/backend.h"
#include "polycache/author/clock.h"
#include "polycache/author/option_reader.h"
#include "polycache/warning.h"
#include "server.h"
#include "settings.h"

namespace polycache::memcached {

struct Shared {
  Shared(const OptionReader& options, const BackendContext& context);

  const Settings settings;
  const Ring ring;
  const Clock& clock;
  const std::function<void(const Warning&)> report;
  std::vector<std::unique_ptr<Server>> servers;  // never changed
  std::atomic<std::size_t> sessions{0};
};

}  // namespace polycache::memcached
