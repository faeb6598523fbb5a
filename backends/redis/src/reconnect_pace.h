// When to connect again to a server that does not let anybody in: after a pause that grows
// from 20 ms to a second, and then by one thread first. All others fail at once meanwhile, so
// that a server that starts is not met by every thread of every program.
//
// Thread-safe without a lock; usable in a fork's child.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "polycache/author/clock.h"

namespace polycache::redis {

class ReconnectPace {
 public:
  // Of one attempt. Zero while nothing has failed.
  using Ticket = std::int64_t;

  // Of an attempt that takes longer than `patience` nothing more is expected: another may go.
  ReconnectPace(const Clock& clock, std::chrono::milliseconds patience) noexcept
      : clock_(clock), patience_(patience) {}

  // Empty if nobody may connect now. Who gets a ticket says how it went.
  std::optional<Ticket> enter() noexcept;
  void succeeded() noexcept;
  void failed(Ticket ticket) noexcept;
  // It was not tried after all.
  void leave(Ticket ticket) noexcept;

  // From a failure to the next success.
  bool is_pausing() const noexcept { return until_.load(std::memory_order_relaxed) != 0; }
  // Until the next attempt; zero if one may be made.
  std::chrono::milliseconds pause_left() const noexcept;

 private:
  std::int64_t now() const noexcept;
  std::chrono::nanoseconds next_pause() const noexcept;

  const Clock& clock_;
  const std::chrono::nanoseconds patience_;
  // Nanoseconds of the clock. Zero: nothing has failed. Otherwise the end of the pause or, as
  // the ticket of the one that tries, of the patience with it.
  std::atomic<std::int64_t> until_{0};
  std::atomic<int> failures_{0};  // in a row
};

}  // namespace polycache::redis
