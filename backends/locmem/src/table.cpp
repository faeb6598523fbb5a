#include "table.h"

#include <new>
#include <utility>

namespace polycache::locmem {
namespace {

constexpr std::size_t kFirstBuckets = 2;
// Grown by half when seven of ten slots are taken: more, and many buckets pass entries on;
// less, and memory is far from what is needed.
constexpr std::size_t kTakenOfTen = 7;
// From this size on a table is in pages of the store, and fills them.
constexpr std::size_t kBytesInPages = 16 << 10;

}  // namespace

Table::~Table() { clear(); }

void Table::clear() noexcept {
  deallocate(first_.load(std::memory_order_relaxed), buckets_);
  first_.store(nullptr, std::memory_order_relaxed);
  buckets_.store(0, std::memory_order_relaxed);
  size_ = 0;
  ++rebuilt_;
}

void Table::reserve_one() {
  const std::size_t slots = buckets_ * kSlots;
  if ((size_ + 1) * 10 <= slots * kTakenOfTen) return;
  try {
    rebuild(buckets_ == 0 ? kFirstBuckets : buckets_ + (buckets_ + 1) / 2);
  } catch (const std::bad_alloc&) {
    // Slower, but good while a slot is free.
    if (size_ == slots) throw;
  }
}

Table::Bucket* Table::allocate(std::size_t buckets) {
  const std::size_t bytes = buckets * sizeof(Bucket);
  if (bytes < kBytesInPages) {
    void* const memory = ::operator new(bytes, std::align_val_t(alignof(Bucket)));
    return ::new (memory) Bucket[buckets]();
  }
  void* const memory = pages_.take(bytes / PageSource::kPage);
  if (memory == nullptr) throw std::bad_alloc();
  return ::new (memory) Bucket[buckets]();
}

void Table::deallocate(Bucket* first, std::size_t buckets) noexcept {
  const std::size_t bytes = buckets * sizeof(Bucket);
  if (bytes < kBytesInPages) {
    ::operator delete(first, std::align_val_t(alignof(Bucket)));
  } else {
    pages_.give_back(first, bytes / PageSource::kPage);
  }
}

void Table::rebuild(std::size_t buckets) {
  constexpr std::size_t kBucketsInPage = PageSource::kPage / sizeof(Bucket);
  if (buckets * sizeof(Bucket) >= kBytesInPages) buckets -= buckets % kBucketsInPage;
  Bucket* const fresh = allocate(buckets);
  for (std::size_t index = 0; index < buckets_; ++index) {
    if (index + 1 < buckets_) {  // its keys are read next
      visit_bucket(index + 1, [](const Entry& entry) { __builtin_prefetch(&entry); });
    }
    visit_bucket(index,
                 [&](const Entry& entry) { insert_into(fresh, buckets, hash(entry), entry); });
  }
  deallocate(first_.load(std::memory_order_relaxed), buckets_);
  first_.store(fresh, std::memory_order_relaxed);
  buckets_.store(buckets, std::memory_order_relaxed);
  ++rebuilt_;
}

void Table::insert_into(Bucket* first, std::size_t buckets, std::uint64_t hash,
                        const Entry& entry) noexcept {
  for (std::size_t index = home(hash, buckets);;) {
    for (Slot& place : first[index].slots) {
      if (place != kFree) continue;
      place = slot(hash, entry);
      return;
    }
    ++first[index].passed_on;
    if (++index == buckets) index = 0;
  }
}

void Table::insert(std::uint64_t hash, Entry& entry) noexcept {
  insert_into(first_.load(std::memory_order_relaxed), buckets_, hash, entry);
  ++size_;
}

Table::Slot& Table::slot_of(std::uint64_t hash, const Entry& entry) noexcept {
  const Slot wanted = slot(hash, entry);
  for (std::size_t index = home(hash, buckets_);; index = after(index)) {
    for (Slot& place : first_.load(std::memory_order_relaxed)[index].slots) {
      if (place == wanted) return place;
    }
  }
}

void Table::erase(std::uint64_t hash, const Entry& entry) noexcept {
  const Slot wanted = slot(hash, entry);
  Bucket* const first = first_.load(std::memory_order_relaxed);
  for (std::size_t index = home(hash, buckets_);; index = after(index)) {
    for (Slot& place : first[index].slots) {
      if (place != wanted) continue;
      place = kFree;
      --size_;
      return;
    }
    --first[index].passed_on;
  }
}

void Table::replace(std::uint64_t hash, const Entry& old, Entry& fresh) noexcept {
  slot_of(hash, old) = slot(hash, fresh);
}

void Table::prefetch_entry(std::uint64_t hash) const noexcept {
  if (size_ == 0) return;
  const Bucket& bucket = first_.load(std::memory_order_relaxed)[home(hash, buckets_)];
  for (const Slot place : bucket.slots) {
    if (place >> kAddressBits != tag(hash)) continue;
    __builtin_prefetch(address(place));
    prefetch_rest(*address(place));
    return;
  }
}

}  // namespace polycache::locmem
