// The index of tags of a shard: which of its entries carry a version of a tag (entry_tags.h).

#pragma once

#include <cstdint>
#include <limits>
#include <set>
#include <utility>

#include "entry.h"
#include "polycache/author/entry_tags.h"

namespace polycache::locmem {

// Guarded by the lock of its shard. An entry's rows are those of the bytes that it has: remove them
// before these change.
class TagRows {
 public:
  // Throws std::bad_alloc; then some rows may be missing.
  void add(const Entry& entry) {
    visit_tag_versions(entry.value(),
                       [&](std::uint64_t version) { rows_.emplace(version, &entry); });
  }
  void remove(const Entry& entry) noexcept {
    visit_tag_versions(entry.value(), [&](std::uint64_t version) {
      rows_.erase({version, &entry});
    });
  }
  // An entry that carries this version, or null.
  const Entry* any_with(std::uint64_t version) const noexcept {
    const auto row = rows_.lower_bound({version, nullptr});
    return row != rows_.end() && row->first == version ? row->second : nullptr;
  }

 private:
  std::set<std::pair<std::uint64_t, const Entry*>> rows_;
};

}  // namespace polycache::locmem
