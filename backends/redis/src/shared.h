// What the sessions of one alias share. Thread-safe.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "polycache/author/backend.h"
#include "polycache/author/extension.h"
#include "polycache/author/option_reader.h"
#include "polycache/warning.h"
#include "server.h"
#include "settings.h"

namespace polycache::redis {

struct Shared {
  Shared(const OptionReader& options, const BackendContext& context);

  const Settings settings;
  const Clock& clock;
  const std::function<void(const Warning&)> report;
  std::vector<std::unique_ptr<Server>> servers;  // never changed; the first receives the writes
  std::atomic<std::size_t> sessions{0};          // distributes them over the replicas

  // Whether the servers keep locks, and until when that is believed, in milliseconds.
  std::atomic<LockExtension::Keeping> keeping{LockExtension::Keeping::not_known};
  std::atomic<std::int64_t> keeping_until{0};
  std::atomic<bool> warned_of_keeping{false};
};

}  // namespace polycache::redis
