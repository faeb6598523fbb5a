// What a dump reads of a store and stores in it: both in steps, between which others use the store.

#include <mutex>
#include <string_view>
#include <vector>

#include "shard_copy.h"
#include "store.h"

namespace polycache::locmem {
namespace {

// Each is one cold memory access: some tens of microseconds.
constexpr std::size_t walked_under_lock = 128;

}  // namespace

void Store::copy_shard(std::size_t index, ShardCopy& copy) {
  Shard& shard = shards_[index];
  copy.clear();
  Shard::Walk walk;
  for (bool more = true; more;) {
    std::vector<const Entry*>& order = copy.order();
    if (order.capacity() < order.size() + walked_under_lock)
      order.reserve(2 * order.capacity() + walked_under_lock);
    const std::lock_guard lock(shard.lock());
    more = shard.walk_on(walk, walked_under_lock,
                         [&](const Entry& entry) { order.push_back(&entry); });
  }
  ShardCopy::Batch batch;
  for (std::uint64_t point = 0; point < Table::end_point;) {
    const auto horizon = this->horizon();
    std::size_t examined = 0;  // entries and buckets, since empty ones take time, too
    {
      const std::lock_guard lock(shard.lock());
      point = shard.visit_from(
          point,
          [&](const Entry& entry) {
            ++examined;
            if (clock_.is_live(entry.deadline, horizon)) batch.add(entry, shard.standing(entry));
          },
          [&] { return batch.is_full() || ++examined >= ShardCopy::Batch::entries; });
    }
    copy.take(batch);
  }
}

void Store::restore(std::string_view key, std::string_view value, Ttl ttl, std::uint8_t standing) {
  if (put(key, value, ttl, PutMode::if_absent) != PutResult::stored || standing == 0) return;
  const std::uint64_t hash = hash_(key);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.lock());
  if (Entry* const entry = shard.look(hash, key)) shard.restore(*entry, standing);
}

}  // namespace polycache::locmem
