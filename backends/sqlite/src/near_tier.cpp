#include "near_tier.h"

#include <functional>
#include <iterator>
#include <utility>

namespace polycache::sqlite {

bool NearTier::find(std::string_view key, const LogStamp& stamp, std::int64_t now,
                    std::string& value, std::int64_t& expires) {
  Shard& shard = shard_of(std::hash<std::string_view>()(key));
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.by_key.find(key);
  if (found == shard.by_key.end()) return false;
  const Entry& entry = *found->second;
  if (entry.stamp != stamp || entry.expires <= now || entry.read_at > now) return false;
  value.assign(entry.value);
  expires = entry.expires;
  shard.entries.splice(shard.entries.begin(), shard.entries, found->second);
  return true;
}

void NearTier::keep(std::string_view key, std::string_view value, std::int64_t expires,
                    const LogStamp& stamp, std::int64_t now) {
  const std::size_t size = size_of(key, value);
  Shard& shard = shard_of(std::hash<std::string_view>()(key));
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.by_key.find(key);
  // One value must not drive out all others.
  if (size > bytes_of_shard_ / 4) {
    if (found != shard.by_key.end()) remove(shard, found->second);
    return;
  }
  if (found == shard.by_key.end()) {
    shard.entries.push_front({std::string(key), std::string(value), expires, now, stamp});
    shard.by_key.emplace(shard.entries.front().key, shard.entries.begin());
  } else {
    Entry& entry = *found->second;
    shard.bytes -= size_of(entry.key, entry.value);
    entry.value.assign(value);
    entry.expires = expires;
    entry.read_at = now;
    entry.stamp = stamp;
    shard.entries.splice(shard.entries.begin(), shard.entries, found->second);
  }
  shard.bytes += size;
  while (shard.bytes > bytes_of_shard_) remove(shard, std::prev(shard.entries.end()));
}

void NearTier::remove(Shard& shard, Entries::iterator entry) {
  shard.bytes -= size_of(entry->key, entry->value);
  shard.by_key.erase(entry->key);
  shard.entries.erase(entry);
}

}  // namespace polycache::sqlite
