// What is known of one server of a store: its name, its circuit breaker, when to reconnect, and
// why it failed last. A store keeps one for each server, and reports every call's outcome to it.
//
// Thread-safe; usable in a fork's child.

#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

#include "polycache/author/clock.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/net/reconnect_pace.h"

namespace polycache::net {

class ServerRecord {
 public:
  // `name` is the one for messages. An attempt to connect that takes longer than `patience` does
  // not keep others from trying. `clock` must outlive it.
  ServerRecord(std::string name, const Clock& clock, std::chrono::milliseconds patience);

  const std::string& name() const noexcept { return name_; }
  CircuitBreaker& breaker() noexcept { return breaker_; }
  const CircuitBreaker& breaker() const noexcept { return breaker_; }
  ReconnectPace& pace() noexcept { return pace_; }
  const ReconnectPace& pace() const noexcept { return pace_; }

  // Whether no call and no attempt to connect is currently refused, nor would be a probe.
  bool admits_all() const noexcept {
    return breaker_.state(Access::write) == CircuitBreaker::State::closed && !pace_.is_pausing();
  }

  // The outcome of an attempt to connect.
  void connected() noexcept;
  void connect_failed(ReconnectPace::Ticket ticket, BackendError::Kind kind) noexcept;
  // The kind of error for a call that may not connect: denied if the last attempt was, since
  // waiting does not help then; else unreachable.
  BackendError::Kind kind_of_pause() const noexcept {
    return denied_.load(std::memory_order_relaxed) ? BackendError::Kind::denied
                                                   : BackendError::Kind::unreachable;
  }

  // Keeps the error's reason for later messages.
  void remember(const BackendError& error) noexcept;
  // Without the server's name; empty if nothing has failed.
  std::string last_failure() const;

 private:
  const std::string name_;
  CircuitBreaker breaker_;
  ReconnectPace pace_;
  std::atomic<bool> denied_{false};
  // Guards the next; only ever locked with try_lock: in a fork's child it may stay locked forever.
  mutable std::mutex mutex_;
  std::string last_failure_;
};

// The message of an error without the server's name, with which it begins.
std::string_view reason_of(const BackendError& error) noexcept;

}  // namespace polycache::net
