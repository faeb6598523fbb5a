// A computation that has no entry in the log yet: while its getter runs, and until the entry is
// written. invalidate_if() has to find it.

#pragma once

#include <chrono>
#include <list>
#include <memory>

#include "polycache/detail/loader_state.h"

namespace polycache::detail {

// Counts as unlogged if it ends computed and not written. Thread-safe, except written().
class LoaderState::Unlogged {
 public:
  Unlogged(std::shared_ptr<const LoaderState> owner, LogEntry entry);
  Unlogged(const Unlogged&) = delete;
  Unlogged& operator=(const Unlogged&) = delete;
  ~Unlogged();

  LogEntry entry() const;
  void computed(std::chrono::sys_time<std::chrono::milliseconds> when,
                std::chrono::microseconds took);
  void written() noexcept { is_written_ = true; }

 private:
  std::shared_ptr<const LoaderState> owner_;
  std::list<LogEntry>::iterator entry_;  // in without_entry_
  bool is_computed_ = false;
  bool is_written_ = false;
};

}  // namespace polycache::detail
