// A value as it was when it was found, for a reader that no longer holds the lock.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "entry.h"

namespace polycache::locmem {

// Short values are copied, large ones shared: neither allocates.
class Snapshot {
 public:
  Snapshot() noexcept {}  // NOLINT(modernize-use-equals-default): leaves copy_ uninitialised

  // REQUIRES (both): the lock of the entry's shard is held.
  void take(const Entry& entry) noexcept {
    deadline_ = entry.deadline;
    if (entry.is_large()) {
      entry.large()->acquire();
      shared_ = ValueOwner(entry.large());
      bytes_ = shared_.get()->bytes();
    } else {
      copy(entry.value());
    }
  }
  // Only the first bytes, for Backend::contains().
  void take_head(const Entry& entry) noexcept {
    deadline_ = entry.deadline;
    copy(entry.value().substr(0, head_bytes));
  }

  std::string_view bytes() const noexcept { return bytes_; }
  std::int64_t deadline() const noexcept { return deadline_; }

 private:
  static constexpr std::size_t head_bytes = 64;

  void copy(std::string_view value) noexcept {
    std::copy(value.begin(), value.end(), copy_);
    bytes_ = {copy_, value.size()};
  }

  std::string_view bytes_;
  std::int64_t deadline_ = 0;
  ValueOwner shared_;
  char copy_[Entry::most_inline_value];
};

}  // namespace polycache::locmem
