#include "order_lfu.h"

namespace polycache::locmem {

void LfuOrder::add(Entry& entry, std::uint64_t) noexcept {
  entry.set_mark(0);
  by_uses_[0].push_newest(entry);
  least_ = 0;
}

void LfuOrder::use(Entry& entry) noexcept {
  if (entry.mark() + std::size_t{1} == by_uses_.size()) {
    list_of(entry).renew(entry);
    return;
  }
  list_of(entry).remove(entry);
  entry.set_mark(static_cast<std::uint8_t>(entry.mark() + 1));
  list_of(entry).push_newest(entry);
}

void LfuOrder::remove(Entry& entry) noexcept { list_of(entry).remove(entry); }

void LfuOrder::replace(Entry& old, Entry& fresh) noexcept {
  fresh.set_mark(old.mark());
  list_of(old).replace(old, fresh);
}

void LfuOrder::restore(Entry& entry, std::uint8_t standing) noexcept {
  list_of(entry).remove(entry);
  entry.set_mark(standing);
  list_of(entry).push_newest(entry);
}

Entry* LfuOrder::pick() noexcept {
  for (; least_ < by_uses_.size(); ++least_) {
    if (!by_uses_[least_].empty()) return by_uses_[least_].oldest();
  }
  least_ = 0;
  return nullptr;
}

}  // namespace polycache::locmem
