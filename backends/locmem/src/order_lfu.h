// lfu: evicts the least often used entry, and of those used equally often, the least recently used.
// Counts end at 255 and never decay: for working sets that do not change.

#pragma once

#include <array>
#include <cstdint>

#include "entry_list.h"
#include "order.h"

namespace polycache::locmem {

class LfuOrder final : public Order {
 public:
  void add(Entry& entry, std::uint64_t hash) noexcept override;
  void use(Entry& entry) noexcept override;
  void remove(Entry& entry) noexcept override;
  void replace(Entry& old, Entry& fresh) noexcept override;
  Entry* pick() noexcept override;
  std::size_t lists() const noexcept override { return by_uses_.size(); }
  const EntryList& list(std::size_t index) const noexcept override { return by_uses_[index]; }
  std::uint8_t standing(const Entry& entry) const noexcept override { return entry.mark(); }
  void restore(Entry& entry, std::uint8_t standing) noexcept override;

 private:
  // An entry's mark is its number of uses.
  EntryList& list_of(const Entry& entry) noexcept { return by_uses_[entry.mark()]; }

  std::array<EntryList, 256> by_uses_;
  std::size_t least_ = 0;  // all lists below are empty
};

}  // namespace polycache::locmem
