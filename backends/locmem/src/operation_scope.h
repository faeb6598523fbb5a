// What one operation must finish after the locks are released: entries to report and free, and room
// that it took or made but did not use.

#pragma once

#include <algorithm>

#include "budget.h"
#include "entry.h"
#include "polycache/backends/locmem.h"

namespace polycache::locmem {

class OperationScope {
 public:
  // `listener` may be null.
  OperationScope(Budget& budget, const RemovalListener* listener) noexcept
      : budget_(budget), listener_(listener) {}
  OperationScope(const OperationScope&) = delete;
  OperationScope& operator=(const OperationScope&) = delete;
  // REQUIRES: no lock is held.
  ~OperationScope();

  // The entry is no longer reachable. Its room belongs to the operation. REQUIRES: the lock of its
  // shard is held.
  void bury(Entry& entry, Removal cause) noexcept;
  // Whether replaced values are reported: then none may be overwritten in place.
  bool tells_removals() const noexcept { return listener_ != nullptr; }

  // Ensures that the operation has that much room, from its own and from the budget.
  bool cover(const Amount& needed) noexcept {
    const Amount missing = {std::max<std::int64_t>(needed.entries - room_.entries, 0),
                            std::max<std::int64_t>(needed.bytes - room_.bytes, 0)};
    if (!budget_.take(missing)) return false;
    room_ += missing;
    return true;
  }
  Amount room() const noexcept { return room_; }
  Amount taken_in_all() const noexcept { return budget_.taken(); }

  // Whether room was already requested from other shards.
  bool took_elsewhere() const noexcept { return took_elsewhere_; }
  void take_elsewhere() noexcept { took_elsewhere_ = true; }

  // REQUIRES: covered.
  void spend(const Amount& amount) noexcept { room_ = room_ - amount; }

 private:
  void tell_and_free() noexcept;

  Budget& budget_;
  const RemovalListener* const listener_;
  Amount room_;
  bool took_elsewhere_ = false;
  Entry* buried_ = nullptr;  // linked by Entry::older
};

inline OperationScope::~OperationScope() {
  if (room_ != Amount{}) budget_.give_back(room_);
  if (buried_ != nullptr) tell_and_free();
}

inline void OperationScope::bury(Entry& entry, Removal cause) noexcept {
  room_ += {1, static_cast<std::int64_t>(entry.charge())};
  if (listener_ == nullptr && entry.is_from_heap()) {
    Entry::destroy(&entry);
    return;
  }
  entry.set_mark(static_cast<std::uint8_t>(cause));
  entry.older = buried_;
  buried_ = &entry;
}

}  // namespace polycache::locmem
