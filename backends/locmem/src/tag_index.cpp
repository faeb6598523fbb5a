// The index of tags of a store: one for each shard, under its lock.

#include <cstdint>
#include <mutex>
#include <span>

#include "store.h"

namespace polycache::locmem {
namespace {

// What is done under a shard's lock at once.
constexpr std::size_t entries_under_lock = 64;

}  // namespace

// Each shard indexes what is written to it from the beginning, so that nothing is missing in the
// end.
bool Store::create_tag_index() {
  const std::lock_guard making(tag_index_mutex_);
  if (has_tag_index()) return false;
  for (Shard& shard : shards_) {
    {
      const std::lock_guard lock(shard.lock());
      shard.start_tag_index();
    }
    for (std::uint64_t point = 0; point < Table::end_point;) {
      std::size_t examined = 0;
      const std::lock_guard lock(shard.lock());
      point = shard.visit_from(
          point,
          [&](const Entry& entry) {
            shard.index_tags(entry);
            ++examined;
          },
          [&] { return ++examined >= entries_under_lock; });
    }
  }
  has_tag_index_.store(true, std::memory_order_relaxed);
  return true;
}

bool Store::drop_tag_index() {
  const std::lock_guard dropping(tag_index_mutex_);
  if (!has_tag_index_.exchange(false, std::memory_order_relaxed)) return false;
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.lock());
    shard.drop_tag_index();
  }
  return true;
}

std::size_t Store::erase_tagged(std::span<const std::uint64_t> versions) {
  std::size_t live = 0;
  for (const std::uint64_t version : versions) {
    for (Shard& shard : shards_) {
      for (bool more = true; more;) {
        OperationScope operation(budget_, listener());
        const std::lock_guard lock(shard.lock());
        more = shard.remove_tagged(version, entries_under_lock, live, operation);
      }
    }
  }
  return live;
}

}  // namespace polycache::locmem
