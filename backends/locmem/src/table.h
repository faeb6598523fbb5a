// Finds entries by key: open addressing in buckets of one cache line.
//
// A bucket stores 16 bits of each entry's hash side by side and compares them at once: an entry is
// read only if it almost certainly matches, and no branch depends on its slot. A full bucket passes
// entries on to the next and counts them; a search ends at the first bucket that has passed nothing
// on, and a removed entry leaves no tombstone.

#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <atomic>
#include <bit>
#include <cassert>
#include <cstdint>
#include <memory>
#include <string_view>

#include "entry.h"
#include "key_hash.h"
#include "page_source.h"
#include "text_equal.h"

namespace polycache::locmem {

// Guarded by the lock of its shard, except prefetch(). Owns no entry.
class Table {
 public:
  Table(const KeyHash& hash, PageSource& pages) noexcept : hash_(hash), pages_(pages) {}
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  ~Table();

  std::size_t size() const noexcept { return size_; }
  std::uint64_t hash(const Entry& entry) const noexcept { return hash_(entry.key()); }
  std::uint64_t hash_of(std::string_view key) const noexcept { return hash_(key); }

  // Null if there is none.
  Entry* find(std::uint64_t hash, std::string_view key) const noexcept;

  // Ensures that one more entry has a slot. Throws std::bad_alloc, and is then unchanged.
  void reserve_one();
  // REQUIRES: reserve_one() was called, and no entry has that key.
  void insert(std::uint64_t hash, Entry& entry) noexcept;
  // REQUIRES (both): the entry is there.
  void erase(std::uint64_t hash, const Entry& entry) noexcept;
  void replace(std::uint64_t hash, const Entry& old, Entry& fresh) noexcept;
  void clear() noexcept;  // releases the memory, too

  // Entries by position, for iterating over all of them. Only reserve_one() and clear() move
  // entries to other positions; rebuilt() counts how often.
  std::size_t buckets() const noexcept { return buckets_; }
  std::uint32_t rebuilt() const noexcept { return rebuilt_; }
  template <class F>
  void visit_bucket(std::size_t index, F&& visit) const {
    // A copy, since the visitor may erase what it is shown.
    const Bucket bucket = first_.load(std::memory_order_relaxed)[index];
    for (unsigned taken = ~matches(bucket, free_tag) & all_slots; taken != 0; taken &= taken - 1) {
      visit(*address(bucket, first_of(taken)));
    }
  }

  // Entries by their hash, for iterating over them in several steps: an entry stays at its point,
  // however often the table is rebuilt meanwhile. Points are below end_point.
  static constexpr std::uint64_t end_point = std::uint64_t{1} << 32U;
  static std::uint64_t point(std::uint64_t hash) noexcept { return hash >> 16 & 0xffffffff; }
  // Calls visit(entry, its point) for the entries whose search begins at the bucket of that point,
  // and returns the first point of the next bucket. Entries before the point may be among them.
  // REQUIRES: buckets() > 0, point < end_point
  template <class F>
  std::uint64_t visit_from(std::uint64_t point, F&& visit) const {
    const std::size_t index = bucket_of(point, buckets_);
    std::size_t at = index;
    for (std::size_t seen = 0; seen < buckets_; ++seen, at = after(at)) {
      visit_bucket(at, [&](Entry& entry) {
        const std::uint64_t its_point = this->point(hash(entry));
        if (bucket_of(its_point, buckets_) == index) visit(entry, its_point);
      });
      if (first_.load(std::memory_order_relaxed)[at].passed_on == 0) break;
    }
    // The least point whose bucket is the next one.
    return ((std::uint64_t{index} + 1) * end_point + buckets_ - 1) / buckets_;
  }

  // Prefetches the bucket of a hash. Needs no lock: an outdated address only loads a useless line.
  void prefetch(std::uint64_t hash) const noexcept;
  // Prefetches the entry that a search for the hash would read first.
  void prefetch_entry(std::uint64_t hash) const noexcept;

 private:
  using Tag = std::uint16_t;
  static constexpr Tag free_tag = 0;
  static constexpr std::size_t slot_count = 7;
  static constexpr unsigned all_slots = (1U << slot_count) - 1;
  static constexpr std::uint16_t many_passed_on = 0xffff;

  // An address has 48 bits.
  struct alignas(64) Bucket {
    Tag tags[slot_count];
    std::uint16_t passed_on;  // entries passed on since this bucket was full
    std::uint16_t high[slot_count + 1];
    std::uint32_t low[slot_count + 1];
  };
  static_assert(sizeof(Bucket) == 64, "a bucket is a cache line");

  // A bit for each slot that has that tag.
  static unsigned matches(const Bucket& bucket, Tag tag) noexcept;
  static std::size_t first_of(unsigned slots) noexcept {
    return static_cast<std::size_t>(std::countr_zero(slots));
  }
  static Entry* address(const Bucket& bucket, std::size_t slot) noexcept {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses are kept in parts
    return reinterpret_cast<Entry*>(std::uintptr_t{bucket.high[slot]} << 32 | bucket.low[slot]);
  }
  static void put(Bucket& bucket, std::size_t slot, Tag tag, const Entry& entry) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(&entry);
    assert(address >> 48 == 0);
    bucket.tags[slot] = tag;
    bucket.high[slot] = static_cast<std::uint16_t>(address >> 32);
    bucket.low[slot] = static_cast<std::uint32_t>(address);
  }
  // Never that of a free slot.
  static Tag tag(std::uint64_t hash) noexcept { return static_cast<Tag>(hash | 1); }
  // Most entries of a store have similar sizes, so the lines of an entry of the usual size are
  // loaded together; comparing the key loads the first.
  void prefetch_rest(const Entry& entry) const noexcept {
    constexpr std::uint32_t line_bytes = 64;
    const char* const at = reinterpret_cast<const char*>(&entry);
    for (std::uint32_t line = line_bytes; line < usual_bytes_; line += line_bytes) {
      __builtin_prefetch(at + line);
    }
  }
  // Scales 32 bits of the hash to the number of buckets, which may be any.
  static std::size_t home(std::uint64_t hash, std::size_t buckets) noexcept {
    return bucket_of(point(hash), buckets);
  }
  static std::size_t bucket_of(std::uint64_t point, std::size_t buckets) noexcept {
    return static_cast<std::size_t>(point * buckets >> 32);
  }
  static void insert_into(Bucket* first, std::size_t buckets, std::uint64_t hash,
                          const Entry& entry) noexcept;
  void rebuild(std::size_t buckets);
  Bucket* allocate(std::size_t buckets);
  void deallocate(Bucket* first, std::size_t buckets) noexcept;
  // The position of an entry. REQUIRES: it is in the table.
  struct Place {
    Bucket& bucket;
    std::size_t slot;
  };
  Place place_of(std::uint64_t hash, const Entry& entry) noexcept;
  std::size_t after(std::size_t index) const noexcept {
    return index + 1 == buckets_ ? 0 : index + 1;
  }

  // The members that a search needs come first, in one line with the shard's lock. Atomic only for
  // prefetch(), which requires no ordering.
  std::atomic<Bucket*> first_{nullptr};
  std::atomic<std::size_t> buckets_{0};
  std::size_t size_ = 0;
  std::uint32_t usual_bytes_ = 0;  // of the most recent entry
  std::uint32_t rebuilt_ = 0;
  const KeyHash& hash_;
  PageSource& pages_;
};

inline unsigned Table::matches(const Bucket& bucket, Tag tag) noexcept {
#ifdef __SSE2__
  // Includes passed_on as an eighth tag, which is masked out at the end.
  const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(&bucket));
  const __m128i equal = _mm_cmpeq_epi16(tags, _mm_set1_epi16(static_cast<short>(tag)));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(equal, equal))) & all_slots;
#else
  unsigned result = 0;
  for (std::size_t slot = 0; slot < slot_count; ++slot) {
    result |= static_cast<unsigned>(bucket.tags[slot] == tag) << slot;
  }
  return result;
#endif
}

inline Entry* Table::find(std::uint64_t hash, std::string_view key) const noexcept {
  if (size_ == 0) return nullptr;
  const Bucket* const first = first_.load(std::memory_order_relaxed);
  const std::size_t buckets = buckets_.load(std::memory_order_relaxed);
  const std::size_t start = home(hash, buckets);
  std::size_t index = start;
  do {
    const Bucket& bucket = first[index];
    for (unsigned alike = matches(bucket, tag(hash)); alike != 0; alike &= alike - 1) {
      Entry* const entry = address(bucket, first_of(alike));
      prefetch_rest(*entry);
      const std::string_view found = entry->key();
      if (found.size() == key.size() && equal_texts(found.data(), key.data(), key.size())) {
        return entry;
      }
    }
    if (bucket.passed_on == 0) return nullptr;
    if (++index == buckets) index = 0;
  } while (index != start);
  return nullptr;
}

inline void Table::prefetch(std::uint64_t hash) const noexcept {
  const auto first = reinterpret_cast<std::uintptr_t>(first_.load(std::memory_order_relaxed));
  const std::size_t index = home(hash, buckets_.load(std::memory_order_relaxed));
  // NOLINTNEXTLINE(performance-no-int-to-ptr): may be null, where arithmetic is not allowed
  __builtin_prefetch(reinterpret_cast<const void*>(first + index * sizeof(Bucket)));
}

}  // namespace polycache::locmem
