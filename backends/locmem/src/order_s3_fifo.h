// s3-fifo: three queues. What is new waits in a small one, a tenth of the whole. What was
// used there moves on to the main one, the rest leaves and is remembered in a history; what
// comes back while it is remembered goes to the main queue at once. The main queue gives
// what was used another round for each use, up to three.
//
// So what is asked for once, as in a scan, passes through a tenth of the store and the rest
// stays; and a hit changes two bits and moves nothing.

#pragma once

#include "entry_list.h"
#include "history.h"
#include "order.h"

namespace polycache::locmem {

class S3FifoOrder final : public Order {
 public:
  void add(Entry& entry, std::uint64_t hash) noexcept override;
  void use(Entry& entry) noexcept override { count_use(entry); }
  // The same, for callers that know the policy: it is all that a hit changes.
  static void count_use(Entry& entry) noexcept {
    // Not written where nothing changes: the line stays shared between processors.
    if (uses(entry) < kUses) entry.set_mark(static_cast<std::uint8_t>(entry.mark() + 1));
  }
  void remove(Entry& entry) noexcept override;
  void replace(Entry& old, Entry& fresh) noexcept override;
  Entry* pick() noexcept override;
  const Entry* likely_next() const noexcept override {
    return small_.empty() ? main_.oldest() : small_.oldest();
  }
  void prefetch(std::uint64_t hash) const noexcept override;
  void evict(Entry& entry, std::uint64_t hash) noexcept override;
  void forget() noexcept override { history_.clear(); }

 private:
  // An entry's mark: how often it was used, up to three, and which queue it is in.
  static constexpr std::uint8_t kUses = 3;
  static constexpr std::uint8_t kInMain = 4;

  static std::uint8_t uses(const Entry& entry) noexcept { return entry.mark() & kUses; }
  EntryList& list_of(const Entry& entry) noexcept;
  bool small_is_full() const noexcept;

  EntryList small_;
  EntryList main_;
  History history_;  // of the small queue
};

}  // namespace polycache::locmem
