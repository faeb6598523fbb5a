#include "dump.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "dump_format.h"

namespace polycache::locmem {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t nanoseconds_per_millisecond = 1'000'000;

std::int64_t wall_time(const Clock& clock) {
  return std::chrono::floor<milliseconds>(clock.system_now().time_since_epoch()).count();
}

// From deadlines in this process to ends by the wall clock.
class WallClock {
 public:
  explicit WallClock(const Clock& clock)
      : steady_(clock.steady_now().time_since_epoch().count()),
        wall_(std::chrono::floor<std::chrono::nanoseconds>(clock.system_now().time_since_epoch())
                  .count()) {}

  // Rounded up: no entry ends early.
  std::int64_t end(std::int64_t deadline) const noexcept {
    if (deadline == DeadlineClock::no_deadline) return DumpRecord::no_end;
    const std::int64_t left = deadline - steady_;
    if (left >= DumpRecord::no_end - wall_ - nanoseconds_per_millisecond) return DumpRecord::no_end;
    return (wall_ + left + nanoseconds_per_millisecond - 1) / nanoseconds_per_millisecond;
  }

 private:
  std::int64_t steady_;  // nanoseconds
  std::int64_t wall_;    // nanoseconds
};

// Sections mixed, so that what each would evict first comes first. The shards of this process
// divide the entries in another way, so each gets some of every section.
std::vector<DumpReader::Chunk> mixed(const std::vector<DumpReader::Chunk>& chunks) {
  std::map<std::uint32_t, std::size_t> sizes;
  for (const auto& chunk : chunks) ++sizes[chunk.section];
  std::map<std::uint32_t, std::size_t> seen;
  std::vector<std::pair<double, DumpReader::Chunk>> ordered;
  ordered.reserve(chunks.size());
  for (const auto& chunk : chunks) {
    const auto before = static_cast<double>(seen[chunk.section]++);
    ordered.emplace_back((before + 1) / static_cast<double>(sizes[chunk.section]), chunk);
  }
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<DumpReader::Chunk> result;
  result.reserve(chunks.size());
  for (const auto& [place, chunk] : ordered) result.push_back(chunk);
  return result;
}

}  // namespace

std::uint64_t write_dump(Store& store, const Clock& clock, int descriptor,
                         const std::string& name) {
  const WallClock wall(clock);
  DumpWriter writer(descriptor, name,
                    {.saved = wall_time(clock), .policy = std::string(store.policy_name())});
  ShardCopy copy;
  for (std::size_t shard = 0; shard < store.shards(); ++shard) {
    store.copy_shard(shard, copy);
    copy.visit([&](const ShardCopy::Shown& entry) {
      writer.add(static_cast<std::uint32_t>(shard), {.key = entry.key,
                                                     .value = entry.value,
                                                     .end = wall.end(entry.deadline),
                                                     .standing = entry.standing});
    });
  }
  return writer.finish();
}

void load_dump(Store& store, const Clock& clock, int descriptor) {
  DumpReader reader(descriptor);
  const bool same_policy = reader.head().policy == store.policy_name();
  const std::int64_t saved = reader.head().saved;
  const std::int64_t now = std::max(wall_time(clock), saved);
  for (const DumpReader::Chunk& chunk : mixed(reader.chunks())) {
    reader.read(chunk, [&](const DumpRecord& record) {
      if (record.end <= now) return;
      const Ttl ttl =
          record.end == DumpRecord::no_end ? Ttl::forever() : Ttl(milliseconds(record.end - now));
      store.restore(record.key, record.value, ttl, same_policy ? record.standing : 0);
    });
  }
}

}  // namespace polycache::locmem
