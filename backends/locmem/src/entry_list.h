// An intrusive list of entries.

#pragma once

#include <cstdint>

#include "entry.h"

namespace polycache::locmem {

// Owns no entry.
class EntryList {
 public:
  bool empty() const noexcept { return newest_ == nullptr; }
  std::size_t size() const noexcept { return size_; }
  std::uint64_t bytes() const noexcept { return bytes_; }  // sum of their charges
  Entry* newest() const noexcept { return newest_; }
  Entry* oldest() const noexcept { return oldest_; }

  void push_newest(Entry& entry) noexcept {
    ++size_;
    bytes_ += entry.charge();
    link_newest(entry);
  }

  void remove(Entry& entry) noexcept {
    --size_;
    bytes_ -= entry.charge();
    unlink(entry);
  }

  // Equivalent to remove() and push_newest().
  void renew(Entry& entry) noexcept {
    if (newest_ == &entry) return;
    unlink(entry);
    link_newest(entry);
  }

  // Puts an entry in another's position.
  void replace(Entry& old, Entry& fresh) noexcept {
    bytes_ = bytes_ - old.charge() + fresh.charge();
    fresh.newer = old.newer;
    fresh.older = old.older;
    (fresh.newer == nullptr ? newest_ : fresh.newer->older) = &fresh;
    (fresh.older == nullptr ? oldest_ : fresh.older->newer) = &fresh;
  }

  void clear() noexcept { *this = EntryList(); }

 private:
  void link_newest(Entry& entry) noexcept {
    entry.newer = nullptr;
    entry.older = newest_;
    (newest_ == nullptr ? oldest_ : newest_->newer) = &entry;
    newest_ = &entry;
  }

  void unlink(Entry& entry) noexcept {
    (entry.newer == nullptr ? newest_ : entry.newer->older) = entry.older;
    (entry.older == nullptr ? oldest_ : entry.older->newer) = entry.newer;
  }

  Entry* newest_ = nullptr;
  Entry* oldest_ = nullptr;
  std::size_t size_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace polycache::locmem
