// The log of what a loader has created (loaders.h), and what its invalidations return.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "polycache/codec_binary.h"

namespace polycache {

// A value that was computed. It may have expired or been erased since.
struct LogEntry {
  // Counts up by one for each entry of the label. 0: the value is being computed, or its entry is
  // not written yet.
  std::uint64_t number = 0;
  std::string key = {};
  // The texts of the arguments, as the key has them but without escapes: {"3", "dark red"}. Empty
  // if an argument has no text (key_of.h).
  std::vector<std::string> arguments = {};
  std::chrono::sys_time<std::chrono::milliseconds> created = {};
  std::chrono::microseconds took{};
  std::string label = {};

  friend bool operator==(const LogEntry&, const LogEntry&) = default;
};

template <>
struct Codec<LogEntry> : BinaryCodec<LogEntry> {};

// The newest entries come first.
struct LogPage {
  std::vector<LogEntry> entries = {};
  std::uint64_t next = 0;  // for LogQuery::before; 0: this was the last page
  // Whether older entries, or entries among these, are gone: the log was full, or its store has
  // evicted or lost them. If a store loses the whole log, processes know it that have used it
  // before.
  bool is_cut = false;
};

struct LogQuery {
  std::uint64_t before = std::numeric_limits<std::uint64_t>::max();  // only entries with less
  std::size_t count = 100;  // at most so many; from 1 to 1000
};

// What invalidate() and its kin did.
struct Invalidation {
  // Whether it runs on the executor (LoaderOptions::delay_invalidation); then no more is known.
  bool is_delayed = false;
  // How many entries the store had and has removed. Empty for invalidate_all() and if it is not
  // known.
  std::optional<std::size_t> removed = {};
  // invalidate_if(): whether the log had lost entries, or this process could not write some, whose
  // values may be there still.
  bool log_was_cut = false;
};

using LogPredicate = std::function<bool(const LogEntry& entry)>;

}  // namespace polycache
