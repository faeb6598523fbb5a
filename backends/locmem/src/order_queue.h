// One queue: fifo, or lru, where a use moves the entry to its end.

#pragma once

#include "entry_list.h"
#include "order.h"

namespace polycache::locmem {

class QueueOrder final : public Order {
 public:
  enum class Use : bool { is_nothing, renews };

  explicit QueueOrder(Use use) noexcept : use_(use) {}

  void add(Entry& entry, std::uint64_t) noexcept override { queue_.push_newest(entry); }
  void use(Entry& entry) noexcept override {
    if (use_ == Use::renews) queue_.renew(entry);
  }
  void remove(Entry& entry) noexcept override { queue_.remove(entry); }
  void replace(Entry& old, Entry& fresh) noexcept override { queue_.replace(old, fresh); }
  Entry* pick() noexcept override { return queue_.oldest(); }
  std::size_t lists() const noexcept override { return 1; }
  const EntryList& list(std::size_t) const noexcept override { return queue_; }
  const Entry* likely_next() const noexcept override { return queue_.oldest(); }

 private:
  const Use use_;
  EntryList queue_;
};

}  // namespace polycache::locmem
