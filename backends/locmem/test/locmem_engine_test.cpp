// The parts of locmem's engine, and the whole of it where memory is short.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "budget.h"
#include "deadline_clock.h"
#include "history.h"
#include "key_hash.h"
#include "polycache/author/spin_lock.h"
#include "polycache/backends/locmem.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"
#include "table.h"

using namespace std::chrono_literals;

namespace {

// clang's thread sanitizer has an operator new of its own, which cannot be replaced.
#if defined(__clang__) && defined(__SANITIZE_THREAD__)
constexpr bool allocations_can_fail = false;
#else
constexpr bool allocations_can_fail = true;
#endif

// Allocations of this thread that succeed before all others fail; negative: none fails.
thread_local long allocations_left = -1;
// Or only the first of them fails.
thread_local bool one_fails = false;

void* allocate(std::size_t size, std::size_t alignment) {
  if (allocations_left == 0) {
    if (one_fails) allocations_left = -1;
    throw std::bad_alloc();
  }
  if (allocations_left > 0) --allocations_left;
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* const memory = std::aligned_alloc(alignment, std::max(rounded, alignment));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace polycache::locmem {
namespace {

PageSource pages;  // must outlive all tables and heaps

Entry* entry_of(std::string_view key, std::string_view bytes = "v") {
  static SpinLock lock;
  static Heap heap(pages, lock);
  NewValue value(bytes);
  return Entry::make(key, value, DeadlineClock::no_deadline, heap);
}

TEST(LocmemTable, FindsWhatItHoldsThroughGrowthAndRemoval) {
  const KeyHash hash;
  Table table(hash, pages);
  std::map<std::string, Entry*> model;
  unsigned random = 1;
  for (int step = 0; step < 30'000; ++step) {
    random = random * 1664525 + 1013904223;
    const std::string key = "k" + std::to_string((random >> 8) % 2000);
    const auto it = model.find(key);
    EXPECT_EQ(table.find(hash(key), key), it == model.end() ? nullptr : it->second);
    if (it == model.end()) {
      table.reserve_one();
      Entry* const fresh = entry_of(key);
      table.insert(hash(key), *fresh);
      model[key] = fresh;
    } else if ((random & 3) == 0) {
      Entry* const fresh = entry_of(key, "other");
      table.replace(hash(key), *it->second, *fresh);
      Entry::destroy(std::exchange(it->second, fresh));
    } else {
      table.erase(hash(key), *it->second);
      Entry::destroy(it->second);
      model.erase(it);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  std::set<const Entry*> seen;
  for (std::size_t i = 0; i < table.buckets(); ++i) {
    table.visit_bucket(i, [&](const Entry& entry) { seen.insert(&entry); });
  }
  EXPECT_EQ(seen.size(), model.size());
  for (const auto& [key, entry] : model) Entry::destroy(entry);
}

TEST(LocmemTable, StaysWithinTwentyBytesAnEntry) {
  const KeyHash hash;
  Table table(hash, pages);
  std::vector<Entry*> entries;
  for (int i = 0; i < 20'000; ++i) {
    table.reserve_one();
    entries.push_back(entry_of("k" + std::to_string(i)));
    table.insert(hash(entries.back()->key()), *entries.back());
    if (i > 100) {
      ASSERT_LE(table.buckets() * 64, table.size() * 20) << i;
    }
  }
  for (Entry* entry : entries) Entry::destroy(entry);
}

TEST(LocmemTable, GoesOnInAFullTableWhereMemoryIsShort) {
  if (!allocations_can_fail) GTEST_SKIP() << "no allocation can be made to fail";
  const KeyHash hash;
  Table table(hash, pages);
  std::vector<Entry*> entries;
  for (;;) {
    Entry* const entry = entry_of("k" + std::to_string(entries.size()));
    if (!entries.empty()) allocations_left = 0;
    try {
      table.reserve_one();
    } catch (const std::bad_alloc&) {
      allocations_left = -1;
      Entry::destroy(entry);
      break;
    }
    allocations_left = -1;
    table.insert(hash(entry->key()), *entry);
    entries.push_back(entry);
  }
  EXPECT_EQ(entries.size(), table.buckets() * 7) << "every slot is in use";
  for (Entry* entry : entries) EXPECT_EQ(table.find(hash(entry->key()), entry->key()), entry);
  EXPECT_EQ(table.find(hash("absent"), "absent"), nullptr);
  for (Entry* entry : entries) Entry::destroy(entry);
}

TEST(LocmemHash, SpreadsKeysThatCollideInOtherFunctions) {
  // All bits of the first factor of an unkeyed product are zero: all of these are one.
  const KeyHash unkeyed(KeyHash::Secrets{0, 0, 0, 0});
  std::vector<std::string> hostile;
  for (std::uint64_t i = 0; i < 4096; ++i) {
    std::string key(32, '\0');
    std::copy_n(reinterpret_cast<const char*>(&i), sizeof(i), key.begin() + 8);
    hostile.push_back(key);
  }
  std::set<std::uint64_t> values;
  for (const auto& key : hostile) values.insert(unkeyed(key));
  ASSERT_EQ(values.size(), 1u);
  // And those that meet in one bucket of the standard library's.
  for (int i = 0; hostile.size() < 8192; ++i) {
    std::string key = "user:" + std::to_string(i);
    if (std::hash<std::string>{}(key) % 64 == 7) hostile.push_back(std::move(key));
  }
  const KeyHash keyed;
  values.clear();
  std::map<std::uint64_t, int> by_shard;
  for (const auto& key : hostile) {
    values.insert(keyed(key));
    ++by_shard[keyed(key) >> 58];
  }
  EXPECT_EQ(values.size(), hostile.size());
  EXPECT_EQ(by_shard.size(), 64u);
  for (const auto& [shard, count] : by_shard) EXPECT_LT(count, 3 * 8192 / 64) << shard;
}

TEST(LocmemHash, DiffersFromStoreToStoreAndReadsTheWholeKey) {
  const KeyHash one;
  const KeyHash other;
  EXPECT_NE(one("key"), other("key"));
  std::set<std::uint64_t> values;
  std::string key;
  for (int size = 0; size < 80; ++size, key += 'a') values.insert(one(key));
  EXPECT_EQ(values.size(), 80u) << "the length counts";
  for (std::size_t at = 0; at < key.size(); ++at) {
    key[at] = 'b';
    values.insert(one(key));
    key[at] = 'a';
  }
  EXPECT_EQ(values.size(), 160u) << "and every byte";
}

TEST(LocmemHistory, RemembersTheLastOnes) {
  History history;
  constexpr std::size_t capacity = 1000;
  const auto print = [](std::size_t i) { return static_cast<std::uint32_t>(i * 2654435761u); };
  for (std::size_t i = 1; i <= 5000; ++i) history.add(print(i), i % 2 == 0, capacity);
  std::size_t recent = 0;
  std::size_t old = 0;
  for (std::size_t i = 4501; i <= 5000; ++i) recent += history.take(print(i)) ? 1 : 0;
  for (std::size_t i = 1; i <= 3000; ++i) old += history.take(print(i)) ? 1 : 0;
  EXPECT_GT(recent, 490u);
  EXPECT_LT(old, 10u);
  EXPECT_FALSE(history.take(print(5000))) << "taken is forgotten";
}

TEST(LocmemHistory, KeepsWhatItKnowsWhenItGrows) {
  History history;
  for (std::uint32_t i = 1; i <= 100; ++i) history.add(i << 25 | i, true, 100);
  history.add(7, false, 10'000);
  EXPECT_TRUE(history.take(7));
  EXPECT_TRUE(history.take(100u << 25 | 100u));
  history.clear();
  EXPECT_FALSE(history.take(99u << 25 | 99u));
}

TEST(LocmemHistory, TellsWhatWasMarkedAndWhatCameSince) {
  History history;
  constexpr std::size_t one_set = 16;
  history.add(2, true, one_set);
  history.add(4, false, one_set);
  history.add(6, true, one_set);
  history.add(9, true, one_set);
  const auto first = history.take(2);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->mark);
  EXPECT_EQ(first->newer_alike, 2) << "6 and 9";
  const auto second = history.take(4);
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->mark);
  EXPECT_EQ(second->newer_alike, 0);
  const auto last = history.take(9);
  ASSERT_TRUE(last);
  EXPECT_TRUE(last->mark);
  EXPECT_EQ(last->newer_alike, 0);
  EXPECT_FALSE(history.take(9));
  EXPECT_TRUE(history.take(6));
}

TEST(LocmemBudget, GivesAllOrNothing) {
  Budget budget(2, 100);
  EXPECT_TRUE(budget.take({1, 60}));
  EXPECT_FALSE(budget.take({1, 41}));
  EXPECT_EQ(budget.taken(), (Amount{1, 60})) << "nothing was taken";
  EXPECT_TRUE(budget.take({1, 40}));
  EXPECT_FALSE(budget.take({1, -40})) << "what is given back is not what is missing";
  budget.give_back({1, 40});
  EXPECT_EQ(budget.taken(), (Amount{1, 60}));
}

TEST(LocmemDeadlines, AreNeverEarlyByTheMachinesClock) {
  const DeadlineClock clock(Clock::real());
  for (int round = 0; round < 20; ++round) {
    const std::int64_t before = clock.now();
    const std::int64_t recent = clock.recent();
    EXPECT_LE(recent, clock.now());
    const std::int64_t deadline = DeadlineClock::deadline(clock.now(), Ttl(3ms));
    EXPECT_GE(deadline, before + 3'000'000);
    while (clock.is_live(deadline)) std::this_thread::yield();
    EXPECT_GE(clock.now(), deadline);
  }
}

TEST(LocmemDeadlines, RecentTimeIsNotOld) {
  const DeadlineClock clock(Clock::real());
  std::int64_t last = 0;
  for (int round = 0; round < 1000; ++round) {
    const std::int64_t recent = clock.recent();
    EXPECT_GE(recent, last);
    last = recent;
  }
  const std::int64_t before = clock.now();
  std::this_thread::sleep_for(25ms);  // the kernel's own clock cannot be injected
  EXPECT_GT(clock.recent(), before);
}

// --- memory is short ---

// Lets each allocation of an operation fail in turn.
template <class Operation>
int failures_of(Operation operation) {
  int failures = 0;
  for (long allowed = 0; allowed < 20; ++allowed) {
    allocations_left = allowed;
    const bool done = operation(allowed);
    allocations_left = -1;
    if (done) break;
    ++failures;
  }
  return failures;
}

class LocmemShortOfMemory : public ::testing::TestWithParam<std::size_t> {
 protected:
  testing::ManualClock clock_;
  testing::TestContext context_{clock_};
  std::unique_ptr<BackendFactory> factory_ = testing::make_factory(
      locmem::plugin, context_, {.options = {{"max_entries", OptionValue(std::int64_t{50})}}});
  std::unique_ptr<Backend> session_ = factory_->connect();
};

TEST_P(LocmemShortOfMemory, APutIsRefusedAndTheOldValueIsGone) {
  if (!allocations_can_fail) GTEST_SKIP() << "no allocation can be made to fail";
  const std::string value(GetParam(), 'v');
  for (const char* old : {"", "an old value of another size that has to make room"}) {
    const int failures = failures_of([&](long allowed) {
      const std::string key = "k" + std::to_string(allowed);
      const long kept = std::exchange(allocations_left, -1);
      if (*old != '\0') session_->put(key, old, Ttl(1s), PutMode::always);
      allocations_left = kept;
      bool stored = false;
      try {
        stored = session_->put(key, value, Ttl(1s), PutMode::always);
      } catch (const std::bad_alloc&) {
        // There is no memory to report the refusal either.
      }
      allocations_left = -1;
      EXPECT_EQ(session_->contains(key, [](std::string_view) {}), stored);
      return stored;
    });
    EXPECT_GE(failures, 1);
  }
  // All is well afterwards.
  for (int i = 0; i < 200; ++i) {
    EXPECT_TRUE(session_->put("k" + std::to_string(i), value, Ttl(1s), PutMode::always));
  }
  const auto statistics = dynamic_cast<locmem::Factory&>(*factory_).statistics();
  EXPECT_EQ(statistics.entries, 50u);
  session_->clear();
  EXPECT_EQ(dynamic_cast<locmem::Factory&>(*factory_).statistics().bytes, 0u);
}

TEST_P(LocmemShortOfMemory, OthersGoInsteadWhereOneAllocationFails) {
  if (!allocations_can_fail) GTEST_SKIP() << "no allocation can be made to fail";
  const std::string value(GetParam(), 'v');
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(session_->put("old" + std::to_string(i), value, Ttl(1s), PutMode::always));
  }
  one_fails = true;
  for (int i = 0; i < 10; ++i) {
    const std::string key = "new" + std::to_string(i);
    allocations_left = 0;
    EXPECT_TRUE(session_->put(key, value, Ttl(1s), PutMode::always));
    allocations_left = -1;
    EXPECT_TRUE(session_->contains(key, [](std::string_view) {}));
  }
  one_fails = false;
  // Those of 500 bytes are in pages of the store by now, and allocate nothing.
  const auto evicted = dynamic_cast<locmem::Factory&>(*factory_).statistics().evicted;
  EXPECT_GE(evicted, GetParam() == 500 ? 0u : 10u);
}

INSTANTIATE_TEST_SUITE_P(Sizes, LocmemShortOfMemory, ::testing::Values(0u, 500u, 5000u));

TEST(Locmem, AHitAllocatesNothing) {
  if (!allocations_can_fail) GTEST_SKIP() << "no allocation can be made to fail";
  testing::TestContext context;
  const auto factory = testing::make_factory(locmem::plugin, context);
  const auto session = factory->connect();
  session->put("short", std::string(100, 's'), Ttl(1h), PutMode::always);
  session->put("large", std::string(100'000, 'l'), Ttl(1h), PutMode::always);
  const std::vector<std::string_view> keys = {"short", "large", "absent"};
  const std::string other(110, 'o');
  std::size_t bytes = 0;
  allocations_left = 0;
  session->get("short", [&](std::string_view value) { bytes += value.size(); });
  session->get("large", [&](std::string_view value) { bytes += value.size(); });
  session->get_many(keys, [&](std::size_t, std::string_view value) { bytes += value.size(); });
  const bool stored = session->put("short", other, Ttl(1h), PutMode::always);
  allocations_left = -1;
  EXPECT_TRUE(stored) << "overwritten where it stands, as its block has room";
  EXPECT_EQ(bytes, 200'200u);
}

}  // namespace
}  // namespace polycache::locmem
