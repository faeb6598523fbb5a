// Finds entries by key: open addressing in buckets of one cache line.
//
// A slot is one word: 15 bits of the hash above the 48 bits of an address, so that an entry
// is looked at only if it is, almost surely, the one. A bucket that is full passes entries
// on to the next and counts them; a search ends at the first bucket that passed nothing on,
// and an entry leaves no trace when it goes.

#pragma once

#include <atomic>
#include <cassert>
#include <cstdint>
#include <memory>
#include <string_view>

#include "entry.h"
#include "key_hash.h"
#include "page_source.h"

namespace polycache::locmem {

// Guarded by the lock of its shard, but for prefetch(). Owns no entry.
class Table {
 public:
  Table(const KeyHash& hash, PageSource& pages) noexcept : hash_(hash), pages_(pages) {}
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  ~Table();

  std::size_t size() const noexcept { return size_; }
  std::uint64_t hash(const Entry& entry) const noexcept { return hash_(entry.key()); }

  // Null if there is none.
  Entry* find(std::uint64_t hash, std::string_view key) const noexcept;

  // Makes sure that one more entry has a slot. Throws std::bad_alloc, and is as before.
  void reserve_one();
  // REQUIRES: reserve_one() was called, and no entry has that key.
  void insert(std::uint64_t hash, Entry& entry) noexcept;
  // REQUIRES (both): the entry is there.
  void erase(std::uint64_t hash, const Entry& entry) noexcept;
  void replace(std::uint64_t hash, const Entry& old, Entry& fresh) noexcept;
  void clear() noexcept;  // gives the memory back, too

  // Entries by place, for those who look at all of them. Only reserve_one() and clear()
  // move entries to other places; rebuilt() counts how often.
  std::size_t buckets() const noexcept { return buckets_; }
  std::uint32_t rebuilt() const noexcept { return rebuilt_; }
  template <class F>
  void visit_bucket(std::size_t index, F&& visit) const {
    // A copy, since the visitor may erase what it is shown.
    const Bucket bucket = first_.load(std::memory_order_relaxed)[index];
    for (const Slot slot : bucket.slots) {
      if (slot != kFree) visit(*address(slot));
    }
  }

  // Starts to load the bucket of a hash. Needs no lock: an address that is out of date
  // makes the processor load a line in vain, nothing else.
  void prefetch(std::uint64_t hash) const noexcept;
  // Starts to load the entry that a search for the hash would look at first.
  void prefetch_entry(std::uint64_t hash) const noexcept;

 private:
  using Slot = std::uint64_t;
  static constexpr Slot kFree = 0;
  static constexpr int kAddressBits = 48;
  static constexpr std::size_t kSlots = 7;

  struct alignas(64) Bucket {
    Slot slots[kSlots];
    std::uint64_t passed_on;  // entries that went further since this bucket was full
  };

  static Entry* address(Slot slot) noexcept {
    return reinterpret_cast<Entry*>(slot & ((Slot{1} << kAddressBits) - 1));
  }
  // Never that of a free slot.
  static std::uint64_t tag(std::uint64_t hash) noexcept { return (hash & 0xffff) | 1; }
  static Slot slot(std::uint64_t hash, const Entry& entry) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(&entry);
    assert(address >> kAddressBits == 0);
    return tag(hash) << kAddressBits | address;
  }
  // A short value ends in the second or third line; the key's comparison loads the first.
  static void prefetch_rest(const Entry& entry) noexcept {
    __builtin_prefetch(reinterpret_cast<const char*>(&entry) + 64);
    __builtin_prefetch(reinterpret_cast<const char*>(&entry) + 128);
  }
  // Scales 32 bits of the hash to the number of buckets, which may be any.
  static std::size_t home(std::uint64_t hash, std::size_t buckets) noexcept {
    return static_cast<std::size_t>((hash >> 16 & 0xffffffff) * buckets >> 32);
  }
  static void insert_into(Bucket* first, std::size_t buckets, std::uint64_t hash,
                          const Entry& entry) noexcept;
  void rebuild(std::size_t buckets);
  Bucket* allocate(std::size_t buckets);
  void deallocate(Bucket* first, std::size_t buckets) noexcept;
  Slot& slot_of(std::uint64_t hash, const Entry& entry) noexcept;
  std::size_t after(std::size_t index) const noexcept {
    return index + 1 == buckets_ ? 0 : index + 1;
  }

  const KeyHash& hash_;
  PageSource& pages_;
  // Atomic for prefetch() alone, which wants no order either.
  std::atomic<Bucket*> first_{nullptr};
  std::atomic<std::size_t> buckets_{0};
  std::size_t size_ = 0;
  std::uint32_t rebuilt_ = 0;
};

inline Entry* Table::find(std::uint64_t hash, std::string_view key) const noexcept {
  if (size_ == 0) return nullptr;
  const Bucket* const first = first_.load(std::memory_order_relaxed);
  const std::size_t buckets = buckets_.load(std::memory_order_relaxed);
  const std::uint64_t wanted = tag(hash);
  const std::size_t start = home(hash, buckets);
  std::size_t index = start;
  do {
    const Bucket& bucket = first[index];
    for (const Slot slot : bucket.slots) {
      if (slot >> kAddressBits != wanted) continue;
      Entry* const entry = address(slot);
      prefetch_rest(*entry);
      if (entry->key() == key) return entry;
    }
    if (bucket.passed_on == 0) return nullptr;
    if (++index == buckets) index = 0;
  } while (index != start);
  return nullptr;
}

inline void Table::prefetch(std::uint64_t hash) const noexcept {
  const auto first = reinterpret_cast<std::uintptr_t>(first_.load(std::memory_order_relaxed));
  const std::size_t index = home(hash, buckets_.load(std::memory_order_relaxed));
  __builtin_prefetch(reinterpret_cast<const void*>(first + index * sizeof(Bucket)));
}

}  // namespace polycache::locmem
