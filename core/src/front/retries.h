// When the failed computations of an alias may be repeated, by key: for this process, in memory.
// The store is not written for it.

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <map>
#include <string>
#include <string_view>

#include "polycache/author/clock.h"

namespace polycache {

// Thread-safe.
class Retries {
 public:
  using Delay = std::chrono::milliseconds;

  static constexpr std::size_t most_keys = 4096;  // beyond it, the oldest is forgotten
  static constexpr Delay first_delay{1000};

  // `clock` must outlive it.
  explicit Retries(const Clock& clock) noexcept : clock_(clock) {}

  // Whether the last computation of the key has failed and the next one has to wait.
  bool must_wait(std::string_view key) const;

  // Waits for `delay` from now on.
  void wait(std::string_view key, Delay delay);
  // Waits for a second, and after each further failure twice as long, at most `longest`.
  void back_off(std::string_view key, Delay longest);
  void succeeded(std::string_view key);

 private:
  struct Item {
    std::string key;
    std::chrono::steady_clock::time_point until;
    Delay delay;
  };
  using Items = std::list<Item>;  // oldest first

  void put(std::string_view key, Delay delay);  // REQUIRES: the cold mutex is held

  const Clock& clock_;
  std::atomic<std::size_t> size_{0};
  // Guarded by the cold mutex.
  Items items_;
  std::map<std::string_view, Items::iterator> by_key_;
};

}  // namespace polycache
