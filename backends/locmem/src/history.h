// Remembers recently evicted keys and a bit about each: four bytes, the oldest forgotten first.
//
// Sets of 16 fingerprints, each a queue in one cache line. The fingerprint selects the set, so the
// age at which it is forgotten varies a little; about one in some hundred million unknown keys is
// taken for a known one. Both are acceptable for a hint.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace polycache::locmem {

class History {
 public:
  static constexpr int many_alike = 2;
  struct Memory {
    bool mark;        // as passed to add()
    int newer_alike;  // how many with that mark entered its set since; many_alike: or more
  };

  // Remembers one more of about `capacity`. Forgets everything if memory is short.
  void add(std::uint32_t fingerprint, bool mark, std::size_t capacity) noexcept;
  // Returns and forgets what is remembered of it.
  std::optional<Memory> take(std::uint32_t fingerprint) noexcept;
  void clear() noexcept;
  // Prefetches the memory that add() and take() read.
  void prefetch(std::uint32_t fingerprint) const noexcept {
    if (count_ != 0) __builtin_prefetch(&set_of(fingerprint));
  }

 private:
  static constexpr std::size_t ways = 16;
  struct alignas(64) Set {
    std::uint32_t newest_first[ways];  // fingerprints with the mark as lowest bit; 0: none
  };

  Set& set_of(std::uint32_t fingerprint) const noexcept {
    return sets_[static_cast<std::size_t>(std::uint64_t{fingerprint} * count_ >> 32)];
  }
  static void push(Set& set, std::uint32_t place) noexcept;
  void resize(std::size_t count) noexcept;

  std::unique_ptr<Set[]> sets_;
  std::size_t count_ = 0;
};

}  // namespace polycache::locmem
