// Versions of tags that this process has read a moment ago ("tag_version_cache"): an entry whose
// tags have these versions is live without another request to the store. A version that differs
// from the entry's is always asked for, so that a write is seen at once, wherever it happened; only
// the erasure of a tag by others is noticed late.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "polycache/author/clock.h"

namespace polycache {

// Thread-safe. Never waits: while another thread uses a shard, nothing is known in it. That is also
// so for ever in a child of fork(), if a thread of the parent was using it.
class TagVersionCache {
 public:
  // `life`: how long a version is believed.
  TagVersionCache(const Clock& clock, std::chrono::milliseconds life) noexcept
      : clock_(clock), life_(life) {}

  // What happens to a tag while the store is asked for its version.
  using Moment = std::uint64_t;
  // To be taken before the store is asked.
  Moment moment(std::string_view key) const noexcept;

  // Whether the tag with that key (KeyPolicy::compose_tag_key) had this version a moment ago.
  bool is_known(std::string_view key, std::uint64_t version) noexcept;
  // Remembers a version that the store has, unless it was erased after `asked`.
  void note(std::string_view key, std::uint64_t version, Moment asked) noexcept;
  // To be called after the store has erased the version, or may have.
  void forget(std::string_view key) noexcept;
  void forget_all() noexcept;

  // How many it remembers at most.
  static constexpr std::size_t most_versions = 4096;

 private:
  static constexpr std::size_t shard_count = 16;

  struct Known {
    std::uint64_t version;
    std::chrono::steady_clock::time_point until;
    Moment moment;
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  struct alignas(64) Shard {
    // Raised with each erasure; what was noted before counts no more. Sequentially consistent with
    // the calls of the store around it, whose locks or sockets order them.
    std::atomic<Moment> moment{0};
    std::mutex mutex;
    std::unordered_map<std::string, Known, Hash, std::equal_to<>> known;  // guarded by the mutex
  };

  const Shard& shard_of(std::string_view key) const noexcept {
    return shards_[Hash()(key) % shard_count];
  }
  Shard& shard_of(std::string_view key) noexcept { return shards_[Hash()(key) % shard_count]; }

  const Clock& clock_;
  const std::chrono::milliseconds life_;
  std::array<Shard, shard_count> shards_;
};

}  // namespace polycache
