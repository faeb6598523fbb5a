// The memory under locmem's entries: pages, the heap of a shard, and what becomes of a shard
// whose entries change their sizes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "budget.h"
#include "deadline_clock.h"
#include "heap.h"
#include "key_hash.h"
#include "operation_scope.h"
#include "page_source.h"
#include "poison.h"
#include "polycache/author/spin_lock.h"
#include "settings.h"
#include "shard.h"
#include "store.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LOCMEM_TEST_CAN_LIMIT_MEMORY
#include <sys/resource.h>
#endif

namespace polycache::locmem {
namespace {

constexpr std::size_t page_bytes = PageSource::page_bytes;
constexpr std::size_t chunk_bytes = PageSource::chunk_bytes;

std::uintptr_t address(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

// --- pages ---

TEST(LocmemPages, AreAlignedDistinctAndGoBackToTheSystem) {
  PageSource pages;
  std::map<char*, std::size_t> taken;
  std::mt19937 random(3);
  std::uint64_t most = 0;
  for (int step = 0; step < 6000; ++step) {
    if (taken.size() < 200 || random() % 2 == 0) {
      const std::size_t count = random() % 50 == 0 ? 1 + random() % 600 : 1 + random() % 16;
      const std::size_t alignment = random() % 2 == 0 ? 4 : 1;
      char* const memory = static_cast<char*>(pages.take(count, alignment));
      ASSERT_NE(memory, nullptr);
      ASSERT_EQ(address(memory) % (alignment * page_bytes), 0u);
      const auto after = taken.lower_bound(memory);
      if (after != taken.end()) {
        ASSERT_LE(memory + count * page_bytes, after->first);
      }
      if (after != taken.begin()) {
        ASSERT_LE(std::prev(after)->first + std::prev(after)->second * page_bytes, memory);
      }
      *memory = 'a';
      memory[count * page_bytes - 1] = 'z';
      taken[memory] = count;
    } else {
      const auto it = std::next(taken.begin(), static_cast<int>(random() % taken.size()));
      pages.give_back(it->first, it->second);
      taken.erase(it);
    }
    most = std::max(most, pages.held());
  }
  EXPECT_GT(most, 2 * chunk_bytes);
  for (const auto& [memory, count] : taken) pages.give_back(memory, count);
  EXPECT_EQ(pages.held(), 0u);
}

TEST(LocmemPages, BeginSmallAndStayNearWhatIsTaken) {
  PageSource pages;
  std::vector<void*> taken;
  std::uint64_t bytes = 0;
  const auto take = [&] {
    taken.push_back(pages.take(4, 4));
    bytes += 4 * page_bytes;
  };
  take();
  EXPECT_LE(pages.held(), 64u << 10);
  while (bytes < 16 * chunk_bytes) {
    take();
    ASSERT_LE(pages.held(), bytes + std::max<std::uint64_t>(bytes / 8, 64 << 10) + chunk_bytes);
    if (bytes < chunk_bytes) {
      ASSERT_LE(pages.held(), bytes + bytes / 8 + (64 << 10));
    }
  }
  for (void* memory : taken) pages.give_back(memory, 4);
  EXPECT_EQ(pages.held(), 0u);
}

bool system_is_out_of_memory = false;

void* map_unless_out(std::size_t bytes) {
  return system_is_out_of_memory ? nullptr : PageSource::map_from_system(bytes);
}

TEST(LocmemPages, SayWhereMemoryIsShort) {
  PageSource pages(map_unless_out);
  void* const first = pages.take(1);
  system_is_out_of_memory = true;
  EXPECT_EQ(pages.take(1000), nullptr);
  std::vector<void*> rest;
  while (void* const memory = pages.take(1)) rest.push_back(memory);
  EXPECT_EQ(rest.size() + 1, (64u << 10) / page_bytes) << "the chunk that is there is used up";
  system_is_out_of_memory = false;
  void* const more = pages.take(1);
  EXPECT_NE(more, nullptr);
  pages.give_back(more, 1);
  pages.give_back(first, 1);
  for (void* memory : rest) pages.give_back(memory, 1);
  EXPECT_EQ(pages.held(), 0u);
}

// --- the heap ---

TEST(LocmemHeap, KeepsWhatIsInUse) {
  PageSource pages;
  SpinLock lock;
  Heap heap(pages, lock);
  struct Piece {
    char* memory;
    std::size_t size;
    char fill;
  };
  std::vector<Piece> pieces;
  std::mt19937 random(5);
  const auto check = [](const Piece& piece) {
    return std::all_of(piece.memory, piece.memory + piece.size,
                       [&](char c) { return c == piece.fill; });
  };
  for (int step = 0; step < 20'000; ++step) {
    // Grows, shrinks, grows.
    const bool grows = step / 5'000 % 2 == 0;
    if (pieces.empty() || random() % 8 < (grows ? 5u : 3u)) {
      const std::size_t size = 40 + random() % (step < 10'000 ? 1480 : 200);
      auto* const memory = static_cast<char*>(heap.allocate(size));
      if (memory == nullptr) continue;  // too little to begin with
      ASSERT_EQ(address(memory) % 8, 0u);
      ASSERT_EQ(&Heap::of(memory), &heap);
      const char fill = static_cast<char>('a' + step % 26);
      std::fill_n(memory, Heap::block(size) - Heap::header_bytes, fill);
      pieces.push_back({memory, size, fill});
    } else {
      std::swap(pieces[random() % pieces.size()], pieces.back());
      ASSERT_TRUE(check(pieces.back()));
      heap.free(pieces.back().memory);
      pieces.pop_back();
    }
  }
  EXPECT_GT(heap.held(), 0u);
  for (const Piece& piece : pieces) {
    EXPECT_TRUE(check(piece));
    heap.free(piece.memory);
  }
  EXPECT_EQ(heap.used(), 0u);
  EXPECT_EQ(heap.held(), 0u) << "all neighbours were joined";
  EXPECT_EQ(pages.held(), 0u);
}

TEST(LocmemHeap, LeavesToOthersWhatIsTooLargeOrTooLittle) {
  PageSource pages;
  SpinLock lock;
  Heap heap(pages, lock);
  EXPECT_EQ(heap.allocate(2000), nullptr);
  EXPECT_EQ(heap.allocate(100), nullptr) << "a region does not pay for one entry";
  EXPECT_EQ(pages.held(), 0u);
  void* memory = nullptr;
  for (int i = 0; i < 100 && memory == nullptr; ++i) memory = heap.allocate(100);
  ASSERT_NE(memory, nullptr);
  heap.free(memory);
}

// --- a shard ---

// One shard with its limits, as a store uses it.
class LocmemShardMemory : public ::testing::Test {
 protected:
  static constexpr std::uint64_t most_bytes = 4 << 20;

  static Settings settings_of(std::uint64_t max_bytes) {
    Settings settings;
    settings.max_bytes = max_bytes;
    return settings;
  }

  PutResult put(int key, std::size_t value_size) {
    const std::string text = "key:" + std::to_string(key);
    const std::string value(value_size, static_cast<char>('a' + key % 26));
    OperationScope operation(budget_, listener_);
    const std::lock_guard lock(shard_.lock());
    Write write{text, hash_(text), NewValue(value), DeadlineClock::no_deadline, 0};
    const PutResult result = shard_.assign(shard_.find(write, operation), write, operation);
    shard_.tidy();
    return result;
  }

  std::string get(int key) {
    const std::string text = "key:" + std::to_string(key);
    const std::lock_guard lock(shard_.lock());
    Entry* const entry = shard_.look(hash_(text), text);
    return entry == nullptr ? std::string() : std::string(entry->value());
  }

  void erase(int key) {
    const std::string text = "key:" + std::to_string(key);
    OperationScope operation(budget_, listener_);
    const std::lock_guard lock(shard_.lock());
    Entry* const entry = shard_.look(hash_(text), text);
    if (entry == nullptr) return;
    shard_.remove(hash_(text), *entry, Removal::erased, operation);
    shard_.tidy();
  }

  // Every value is whole, and that of its key.
  void expect_sound(int keys) {
    for (int key = 0; key < keys; ++key) {
      const std::string value = get(key);
      ASSERT_EQ(value, std::string(value.size(), static_cast<char>('a' + key % 26)));
    }
  }

  // Holes of a ninth, a few regions, and a chunk that is not full.
  static constexpr std::uint64_t slack = most_bytes / 8 + 4 * Heap::region_bytes + chunk_bytes;

  const Settings settings_ = settings_of(most_bytes);
  const DeadlineClock clock_{Clock::real()};
  const KeyHash hash_;
  Budget budget_{settings_.max_entries, settings_.max_bytes};
  PageSource pages_{map_unless_out};
  const RemovalListener* listener_ = nullptr;
  TagStamp tag_stamp_;
  Shard shard_{settings_, 1, hash_, clock_, pages_, tag_stamp_};
};

TEST_F(LocmemShardMemory, NoSizeKeepsMemoryFromAnother) {
  std::mt19937 random(7);
  int key = 0;
  // Sizes change from phase to phase; small ones that stay lie between all others.
  for (const std::size_t size : {10u, 900u, 60u, 400u, 3000u, 17u, 1000u, 200u}) {
    for (std::uint64_t written = 0; written < most_bytes + most_bytes / 4;
         written += size + 100, ++key) {
      ASSERT_EQ(put(key, size + random() % 16), PutResult::stored);
      if (key % 10 == 0) get(key / 2);
      ASSERT_LE(pages_.held(), most_bytes + slack) << "values of " << size;
    }
    EXPECT_GT(shard_.bytes(), most_bytes - 2 * (size + 300)) << "the limit can be used up";
  }
  expect_sound(key);
}

TEST_F(LocmemShardMemory, ShrinksWhenMostIsErased) {
  constexpr int key_count = 20'000;
  for (int key = 0; key < key_count; ++key) ASSERT_EQ(put(key, 100), PutResult::stored);
  const std::uint64_t full = pages_.taken();
  EXPECT_GT(full, most_bytes / 2);
  for (int key = 0; key < key_count; ++key) {
    if (key % 10 != 0) erase(key);
  }
  for (int round = 0; round < 2000; ++round) put(key_count, 100);  // holes go on writers' backs
  EXPECT_LT(pages_.taken(), full / 4) << "one entry in ten was left in every region";
  expect_sound(key_count);
}

TEST_F(LocmemShardMemory, EntriesShownToAListenerDoNotMove) {
  std::map<std::string, std::string> told;
  const RemovalListener listener = [&](Removal, std::string_view key, std::string_view value) {
    // Makes holes and moves entries while the one that is told about is in no table.
    for (int i = 0; i < 50; ++i) {
      const std::lock_guard lock(shard_.lock());
      shard_.tidy();
    }
    told[std::string(key)] = std::string(value);
  };
  for (int key = 0; key < 10'000; ++key) ASSERT_EQ(put(key, 100), PutResult::stored);
  listener_ = &listener;
  for (int key = 0; key < 10'000; ++key) {
    if (key % 4 != 0) erase(key);
  }
  for (int key = 0; key < 10'000; ++key) {
    if (key % 4 == 0) continue;
    const auto it = told.find("key:" + std::to_string(key));
    if (it == told.end()) continue;  // evicted before there was a listener
    EXPECT_EQ(it->second, std::string(100, static_cast<char>('a' + key % 26)));
  }
  EXPECT_GT(told.size(), 5000u);
  listener_ = nullptr;
  expect_sound(10'000);
}

TEST_F(LocmemShardMemory, EvictsWhereTheSystemHasNoMoreMemory) {
  for (int key = 0; key < 2000; ++key) ASSERT_EQ(put(key, 100), PutResult::stored);
  system_is_out_of_memory = true;
  for (int key = 2000; key < 8000; ++key) {
    EXPECT_EQ(put(key, 100 + static_cast<std::size_t>(key) % 700), PutResult::stored);
  }
  expect_sound(8000);
  EXPECT_NE(get(7999), "");
  system_is_out_of_memory = false;
  for (int key = 8000; key < 40'000; ++key) ASSERT_EQ(put(key, 100), PutResult::stored);
  EXPECT_GT(shard_.bytes(), most_bytes - 1000) << "and uses all of its limit again";
  expect_sound(40'000);
}

TEST_F(LocmemShardMemory, GivesAllBackWhenItIsCleared) {
  for (int key = 0; key < 10'000; ++key) ASSERT_EQ(put(key, 100), PutResult::stored);
  EXPECT_GT(pages_.held(), 1u << 20);
  {
    OperationScope operation(budget_, nullptr);
    const std::lock_guard lock(shard_.lock());
    shard_.clear(operation);
  }
  EXPECT_EQ(pages_.held(), 0u);
  EXPECT_EQ(put(1, 100), PutResult::stored);
  EXPECT_LE(pages_.held(), 64u << 10) << "small again";
}

TEST_F(LocmemShardMemory, AnEntryThatIsGoneMustNotBeRead) {
  if (!under_address_sanitizer) {
    EXPECT_EQ(put(0, 100), PutResult::stored);
    return;  // only AddressSanitizer can tell
  }
  for (int key = 0; key < 1000; ++key) ASSERT_EQ(put(key, 100), PutResult::stored);
  const std::string text = "key:999";
  const Entry* const entry = shard_.look(hash_(text), text);
  ASSERT_TRUE(entry->is_from_heap());
  erase(999);
  EXPECT_DEATH(static_cast<void>(std::string(entry->value())), "use-after-poison");
}

// --- a store in a process that may not grow ---

#ifdef LOCMEM_TEST_CAN_LIMIT_MEMORY
TEST(LocmemStoreMemory, WorksOnWhereTheProcessHasNoMoreMemory) {
  const auto fill_within_limit = [] {
    ForkGuard guard;
    Settings settings;
    settings.max_bytes = std::uint64_t{4} << 30;
    Store store(settings, Clock::real(), guard);
    rlimit limit{};
    limit.rlim_cur = limit.rlim_max = 64 << 20;
    ::setrlimit(RLIMIT_AS, &limit);
    std::size_t stored = 0;
    const std::string value(900, 'v');
    const std::string large(200'000, 'l');
    for (int i = 0; i < 80'000; ++i) {
      const std::string key = "key:" + std::to_string(i);
      stored += store.put(key, value, Ttl::forever(), PutMode::always) == PutResult::stored;
      if (i % 1000 == 0) store.put("large" + key, large, Ttl::forever(), PutMode::always);
    }
    // What is there is whole, and the latest is among it.
    bool whole = true;
    for (int i = 0; i < 80'000; ++i) {
      store.get("key:" + std::to_string(i),
                [&](std::string_view found) { whole = whole && found == value; });
    }
    const Statistics statistics = store.statistics();
    const bool good = whole && stored > 75'000 && statistics.evicted > 20'000;
    std::fprintf(stderr, "stored %zu, evicted %llu, whole %d\n", stored,
                 static_cast<unsigned long long>(statistics.evicted), whole ? 1 : 0);
    std::_Exit(good ? 0 : 1);
  };
  EXPECT_EXIT(fill_within_limit(), ::testing::ExitedWithCode(0), "stored");
}
#endif

}  // namespace
}  // namespace polycache::locmem
