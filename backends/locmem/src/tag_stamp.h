// The stamp of a store's versions of tags (TagStampExtension).

#pragma once

#include <atomic>
#include <cstdint>

#include "entry.h"
#include "polycache/author/entry_tags.h"

namespace polycache::locmem {

// Thread-safe. On a line of its own: reads of entries with tags load it, and few writes change it.
class alignas(64) TagStamp {
 public:
  // Acquire: the versions are read afterwards.
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_acquire); }
  // To be called when an entry that may be a version is removed or gets another value, under the
  // lock of its shard: who reads the old version before that lock has the old stamp, and who reads
  // the new stamp waits for the lock. Release: that thread sees the change, too.
  void raise() noexcept { value_.fetch_add(1, std::memory_order_release); }

  static bool is_version(const Entry& entry) noexcept {
    return is_tag_version(entry.key(), entry.value_size());
  }

 private:
  std::atomic<std::uint64_t> value_{1};
};

}  // namespace polycache::locmem
