// The eviction policies: which entry of a shard is evicted when there is no room.

#pragma once

#include <cstdint>
#include <memory>

#include "entry.h"
#include "settings.h"

namespace polycache::locmem {

// Guarded by the lock of its shard. Links entries and owns none. An entry's mark belongs to it.
class Order {
 public:
  static std::unique_ptr<Order> make(Policy policy);

  Order() = default;
  Order(const Order&) = delete;
  Order& operator=(const Order&) = delete;
  virtual ~Order();

  // Adds a new entry; `hash` is the hash of its key.
  virtual void add(Entry& entry, std::uint64_t hash) noexcept = 0;
  // The entry was read or written.
  virtual void use(Entry& entry) noexcept = 0;
  // The entry is removed, but not evicted after pick().
  virtual void remove(Entry& entry) noexcept = 0;
  // Another entry replaces it: the same key with another value.
  virtual void replace(Entry& old, Entry& fresh) noexcept = 0;

  // The entry to evict next; null if there is none.
  virtual Entry* pick() noexcept = 0;
  // The entry that pick() will probably choose; null if unknown.
  virtual const Entry* likely_next() const noexcept { return nullptr; }
  // Prefetches what add() or evict() will read for that hash.
  virtual void prefetch(std::uint64_t) const noexcept {}
  // Discards what is remembered about removed entries.
  virtual void forget() noexcept {}
  // Evicts the entry that pick() returned.
  virtual void evict(Entry& entry, std::uint64_t hash) noexcept;
};

}  // namespace polycache::locmem
