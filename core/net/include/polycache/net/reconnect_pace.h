// When to reconnect to a server that refuses connections: after a pause that grows from 20 ms to
// a second, and then with one thread first. Meanwhile all other threads fail at once, so that a
// starting server does not receive connections from every thread of every program.
//
// Thread-safe without a lock; usable in a fork's child. While nothing fails, each call is one
// relaxed load.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "polycache/author/clock.h"

namespace polycache::net {

class ReconnectPace {
 public:
  // Identifies one attempt. Zero if nothing has failed yet.
  using Ticket = std::int64_t;

  // If an attempt takes longer than `patience`, another thread may try. `clock` must outlive it.
  ReconnectPace(const Clock& clock, std::chrono::milliseconds patience) noexcept
      : clock_(clock), patience_(patience) {}

  // Empty if connecting is not allowed now. The holder of a ticket must report the outcome.
  std::optional<Ticket> enter() noexcept;
  // The ticket of an attempt that is made regardless, or of one that this thread has entered.
  Ticket current() const noexcept { return until_.load(std::memory_order_relaxed); }
  void succeeded() noexcept;
  void failed(Ticket ticket) noexcept;
  // Returns a ticket without an attempt.
  void leave(Ticket ticket) noexcept;

  // From a failure to the next success.
  bool is_pausing() const noexcept { return until_.load(std::memory_order_relaxed) != 0; }
  // Until the next attempt; zero if one is allowed now.
  std::chrono::milliseconds pause_left() const noexcept;

 private:
  std::int64_t now() const noexcept;
  std::chrono::nanoseconds next_pause() const noexcept;

  const Clock& clock_;
  const std::chrono::nanoseconds patience_;
  // Nanoseconds of the clock. Zero: nothing has failed. Otherwise the end of the pause or, during
  // an attempt, the end of its `patience`, which is also its ticket.
  std::atomic<std::int64_t> until_{0};
  std::atomic<int> failures_{0};  // consecutive
};

}  // namespace polycache::net
