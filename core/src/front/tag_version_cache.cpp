#include "front/tag_version_cache.h"

#include <new>

namespace polycache {

TagVersionCache::Moment TagVersionCache::moment(std::string_view key) const noexcept {
  return shard_of(key).moment.load();
}

bool TagVersionCache::is_known(std::string_view key, std::uint64_t version) noexcept {
  const auto now = clock_.steady_now();
  Shard& shard = shard_of(key);
  const std::unique_lock lock(shard.mutex, std::try_to_lock);
  if (!lock) return false;
  const auto found = shard.known.find(key);
  return found != shard.known.end() && found->second.version == version &&
         now < found->second.until && found->second.moment == shard.moment.load();
}

void TagVersionCache::note(std::string_view key, std::uint64_t version, Moment asked) noexcept {
  const Known known{version, clock_.steady_now() + life_, asked};
  Shard& shard = shard_of(key);
  const std::unique_lock lock(shard.mutex, std::try_to_lock);
  if (!lock) return;
  try {
    if (const auto found = shard.known.find(key); found != shard.known.end()) {
      found->second = known;
      return;
    }
    // What is dropped is read again.
    if (shard.known.size() >= most_versions / shard_count) shard.known.clear();
    shard.known.emplace(key, known);
  } catch (const std::bad_alloc&) {  // the store is asked again
  }
}

void TagVersionCache::forget(std::string_view key) noexcept { ++shard_of(key).moment; }

void TagVersionCache::forget_all() noexcept {
  for (Shard& shard : shards_) ++shard.moment;
}

}  // namespace polycache
