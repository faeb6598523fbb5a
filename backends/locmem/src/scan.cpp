// Listing the keys of a store, shard by shard, and in each shard by points of its table, which stay
// the same while the table grows: a cursor is "shard.point".

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "polycache/author/scan_position.h"
#include "store.h"

namespace polycache::locmem {
namespace {

// What is done under a shard's lock at once: some tens of microseconds.
constexpr std::size_t entries_under_lock = 128;
constexpr std::size_t bytes_under_lock = std::size_t{64} << 10U;

// How many entries a step of erase_pattern() examines.
constexpr std::size_t entries_of_step = 500;

}  // namespace

// What one lock of a shard has shown: copied, so that nothing foreign runs under the lock.
struct Store::Page {
  struct Item {
    std::size_t key_end;  // in keys
    std::size_t value_size;
    DeadlineClock::Nanoseconds deadline;
  };

  std::string keys;
  std::vector<Item> items;
  std::size_t examined = 0;  // entries and buckets, since empty ones take time, too
};

// Returns where to continue. Keys are only compared with the pattern's head here, since a whole
// pattern may take long.
std::uint64_t Store::list_some(Shard& shard, std::uint64_t point, std::string_view head,
                               Page& page) {
  page.keys.clear();
  page.items.clear();
  page.examined = 0;
  const auto horizon = this->horizon();
  const std::lock_guard lock(shard.lock());
  return shard.visit_from(
      point,
      [&](const Entry& entry) {
        ++page.examined;
        if (!entry.key().starts_with(head) || !clock_.is_live(entry.deadline, horizon)) return;
        page.keys.append(entry.key());
        page.items.push_back({page.keys.size(), entry.value_size(), entry.deadline});
      },
      [&] {
        return ++page.examined >= entries_under_lock || page.keys.size() >= bytes_under_lock;
      });
}

std::string Store::scan(const Glob& glob, std::string_view cursor, std::size_t at_most,
                        FunctionRef<void(const ScanExtension::Listed&)> sink) {
  auto place = ScanPosition::from(cursor, shards_.size(), Table::end_point - 1, "locmem");
  Page page;
  for (std::size_t examined = 0; examined < at_most;) {
    place.point = list_some(shards_[place.part], place.point, glob.head(), page);
    examined += page.examined;
    std::size_t begin = 0;
    for (const Page::Item& item : page.items) {
      const std::string_view key(page.keys.data() + begin, item.key_end - begin);
      begin = item.key_end;
      if (!glob.matches(key)) continue;
      sink({.key = key, .size = item.value_size, .left = clock_.left(item.deadline)});
    }
    if (place.point < Table::end_point) continue;
    place = {.part = place.part + 1, .point = 0};
    if (place.part == shards_.size()) return {};
  }
  return place.cursor();
}

std::size_t Store::erase_pattern(const Glob& glob) {
  std::size_t erased = 0;
  std::string cursor;
  do {
    cursor = scan(glob, cursor, entries_of_step,
                  [&](const ScanExtension::Listed& entry) { erased += erase(entry.key) ? 1 : 0; });
  } while (!cursor.empty());
  return erased;
}

}  // namespace polycache::locmem
