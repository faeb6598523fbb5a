// How much a store holds and may hold, summed over all its shards.

#pragma once

#include <atomic>
#include <cstdint>

namespace polycache::locmem {

// A number of entries and of bytes; negative: released.
struct Amount {
  std::int64_t entries = 0;
  std::int64_t bytes = 0;

  Amount& operator+=(const Amount& other) noexcept {
    entries += other.entries;
    bytes += other.bytes;
    return *this;
  }
  friend Amount operator-(const Amount& a, const Amount& b) noexcept {
    return {a.entries - b.entries, a.bytes - b.bytes};
  }
  friend bool operator==(const Amount&, const Amount&) = default;
};

// Thread-safe. The limits are never exceeded, not even briefly. The counters order nothing (the
// shards' locks do that), so every access is relaxed.
class Budget {
 public:
  Budget(std::uint64_t max_entries, std::uint64_t max_bytes) noexcept
      : entries_(static_cast<std::int64_t>(max_entries)),
        bytes_(static_cast<std::int64_t>(max_bytes)) {}

  // Takes all of it or nothing. A negative part is released, which always succeeds.
  bool take(const Amount& amount) noexcept {
    if (!entries_.take(amount.entries)) return false;
    if (bytes_.take(amount.bytes)) return true;
    entries_.take(-amount.entries);
    return false;
  }
  void give_back(const Amount& amount) noexcept { take({-amount.entries, -amount.bytes}); }

  Amount taken() const noexcept { return {entries_.taken(), bytes_.taken()}; }
  // No further entry fits.
  bool out_of_entries() const noexcept { return entries_.taken() >= entries_.limit(); }

 private:
  class alignas(64) Limit {
   public:
    explicit Limit(std::int64_t limit) noexcept : limit_(limit) {}

    bool take(std::int64_t amount) noexcept {
      if (amount <= 0) {
        if (amount < 0) taken_.fetch_add(amount, std::memory_order_relaxed);
        return true;
      }
      std::int64_t taken = this->taken();
      do {
        if (taken > limit_ - amount) return false;
      } while (!taken_.compare_exchange_weak(taken, taken + amount, std::memory_order_relaxed));
      return true;
    }
    std::int64_t taken() const noexcept { return taken_.load(std::memory_order_relaxed); }
    std::int64_t limit() const noexcept { return limit_; }

   private:
    const std::int64_t limit_;
    std::atomic<std::int64_t> taken_{0};
  };

  Limit entries_;
  Limit bytes_;
};

}  // namespace polycache::locmem
