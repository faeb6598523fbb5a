// Which entry of a shard goes when there is no room: the eviction policies.

#pragma once

#include <cstdint>
#include <memory>

#include "entry.h"
#include "settings.h"

namespace polycache::locmem {

// Guarded by the lock of its shard. Links entries and owns none. An entry's mark is its.
class Order {
 public:
  static std::unique_ptr<Order> make(Policy policy);

  Order() = default;
  Order(const Order&) = delete;
  Order& operator=(const Order&) = delete;
  virtual ~Order();

  // A new entry; `hash` is that of its key.
  virtual void add(Entry& entry, std::uint64_t hash) noexcept = 0;
  // It was read or written.
  virtual void use(Entry& entry) noexcept = 0;
  // It goes, and not since pick() chose it.
  virtual void remove(Entry& entry) noexcept = 0;
  // Another takes its place: the same key with another value.
  virtual void replace(Entry& old, Entry& fresh) noexcept = 0;

  // The entry that should go next; null if there is none.
  virtual Entry* pick() noexcept = 0;
  // The one that will be picked, most likely; null if nobody knows.
  virtual const Entry* likely_next() const noexcept { return nullptr; }
  // Starts to load what add() or evict() will look at for that hash.
  virtual void prefetch(std::uint64_t) const noexcept {}
  // What is known of entries that went is no longer needed.
  virtual void forget() noexcept {}
  // The entry that pick() returned goes.
  virtual void evict(Entry& entry, std::uint64_t hash) noexcept;
};

}  // namespace polycache::locmem
