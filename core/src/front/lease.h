// The right to compute the value of one key, in all processes that use the store
// (LoadOptions::lease).
//
// Where nothing usable is stored, it is a placeholder under the key itself: an entry with
// flag_leased and a text that is its owner's alone. Every operation takes it as absent. What writes
// or erases the key removes it, and then the owner's result is not stored. Where a value stays
// readable, the lease is a separate entry (KeyPolicy::lease_key). If the owner dies, the store
// ends either after the lease's time.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "polycache/author/backend.h"
#include "polycache/author/clock.h"
#include "polycache/author/extension.h"

namespace polycache {

// Not thread-safe. Its functions throw what the store throws.
class Lease {
 public:
  // REQUIRES: the key outlives it
  Lease(std::string_view key, std::chrono::milliseconds time, const Clock& clock);
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Takes it, in place of an entry that counts as absent, or of none. Returns whether it did; not
  // if another process has it, or has changed the entry.
  bool take_place_of(std::optional<std::string_view> stored, Backend& session,
                     CompareExtension& compare);
  bool take_separate(std::string lease_key, Backend& session);

  // What is stored under the key while it is leased. Empty if the lease is a separate entry.
  std::string_view placeholder() const noexcept;

  // Stores the value in place of the placeholder. Returns false, and stores nothing, if that is no
  // longer there.
  bool put(std::string_view value, Ttl ttl, CompareExtension& compare);

  // Gives it back. Does nothing if put() has replaced it.
  void end(CompareExtension& compare);

  // Whether it was taken longer ago than its time.
  bool is_over() const noexcept;

 private:
  enum class Place : unsigned char { none, key, separate };

  // A child of fork() does not have what its parent took.
  bool is_mine() const noexcept;

  const std::string_view key_;
  const Ttl time_;
  const std::string bytes_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  const std::uint32_t forks_;
  std::string separate_key_;  // of a separate lease
  Place place_ = Place::none;
};

// Whether an entry is the placeholder of a lease.
bool is_placeholder(std::string_view stored) noexcept;

// After an operation that gave an entry another lifetime: a placeholder gets back the one that it
// had. `shown`: at least its first 64 bytes, which are all of a placeholder.
void keep_lease_time(Backend& session, std::string_view key, std::string_view shown,
                     const Clock& clock);

// Pauses between two looks at what another process does: short ones first, for short computations.
class Pauses {
 public:
  explicit Pauses(std::chrono::nanoseconds longest) noexcept : longest_(longest) {}

  // Returns false, without a pause, if they have taken long enough.
  bool next();

 private:
  const std::chrono::nanoseconds longest_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::chrono::microseconds pause_{1000};
};

}  // namespace polycache
