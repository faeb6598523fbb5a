// The options of one alias about its store.

#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
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

  std::string_view policy_name() const noexcept;

  friend bool operator==(const Settings&, const Settings&) = default;
};

// Where a store is kept while no process has it. Apart from Settings, since it changes no store.
struct Persistent {
  std::string file;                      // an absolute path; empty: nowhere
  std::chrono::milliseconds interval{};  // between two saves; 0: only at the end and on request

  static Persistent read(const OptionReader& options);
  void add_to(std::vector<SharedOption>& shared) const;
};

}  // namespace polycache::locmem
