// The eviction policies: which entry of a shard is evicted when there is no room.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "entry.h"
#include "entry_list.h"
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
  // Its lists in the order of eviction, roughly; in each, the oldest entry goes first.
  virtual std::size_t lists() const noexcept = 0;
  virtual const EntryList& list(std::size_t index) const noexcept = 0;
  // What it knows of an entry besides its place in a list, for another process.
  virtual std::uint8_t standing(const Entry&) const noexcept { return 0; }
  // Gives an entry that was just added the standing that it had in another process.
  virtual void restore(Entry&, std::uint8_t /*standing*/) noexcept {}
  // Evicts the entry that pick() returned.
  virtual void evict(Entry& entry, std::uint64_t hash) noexcept;
};

}  // namespace polycache::locmem
