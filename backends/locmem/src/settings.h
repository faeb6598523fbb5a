// The options of one alias about its store.

#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"

namespace polycache::locmem {

enum class Policy : std::uint8_t { s3_fifo, lru, fifo, lfu, django };

struct Settings {
  static constexpr std::uint64_t no_limit = std::numeric_limits<std::int64_t>::max();

  std::uint64_t max_bytes = no_limit;
  std::uint64_t max_entries = no_limit;
  Policy policy = Policy::s3_fifo;
  std::uint64_t cull_frequency = 3;  // of the policy django

  // Reports errors to the reader and continues with the defaults.
  static Settings read(const OptionReader& options);

  // The options that all aliases of one location must agree on.
  std::vector<SharedOption> shared() const;

  friend bool operator==(const Settings&, const Settings&) = default;
};

}  // namespace polycache::locmem
