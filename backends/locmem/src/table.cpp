#include "table.h"

#include <new>
#include <utility>

namespace polycache::locmem {
namespace {

constexpr std::size_t first_buckets = 2;
// Grows by half when seven of ten slots are taken: with more, many buckets pass entries on; with
// less, much memory is unused.
constexpr std::size_t taken_of_ten = 7;
// From this size on a table uses whole pages of the store.
constexpr std::size_t bytes_in_pages = 16 << 10;

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
  const std::size_t slots = buckets_ * slot_count;
  if ((size_ + 1) * 10 <= slots * taken_of_ten) return;
  try {
    rebuild(buckets_ == 0 ? first_buckets : buckets_ + (buckets_ + 1) / 2);
  } catch (const std::bad_alloc&) {
    // Slower, but correct while a slot is free.
    if (size_ == slots) throw;
  }
}

Table::Bucket* Table::allocate(std::size_t buckets) {
  const std::size_t bytes = buckets * sizeof(Bucket);
  if (bytes < bytes_in_pages) {
    void* const memory = ::operator new(bytes, std::align_val_t(alignof(Bucket)));
    return ::new (memory) Bucket[buckets]();
  }
  void* const memory = pages_.take(bytes / PageSource::page_bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return ::new (memory) Bucket[buckets]();
}

void Table::deallocate(Bucket* first, std::size_t buckets) noexcept {
  const std::size_t bytes = buckets * sizeof(Bucket);
  if (bytes < bytes_in_pages) {
    ::operator delete(first, std::align_val_t(alignof(Bucket)));
  } else {
    pages_.give_back(first, bytes / PageSource::page_bytes);
  }
}

void Table::rebuild(std::size_t buckets) {
  constexpr std::size_t buckets_in_page = PageSource::page_bytes / sizeof(Bucket);
  if (buckets * sizeof(Bucket) >= bytes_in_pages) buckets -= buckets % buckets_in_page;
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
    Bucket& bucket = first[index];
    if (const unsigned free = matches(bucket, free_tag); free != 0) {
      put(bucket, first_of(free), tag(hash), entry);
      return;
    }
    // A saturated count stays: searches then always continue, and still find every entry.
    if (bucket.passed_on < many_passed_on) ++bucket.passed_on;
    if (++index == buckets) index = 0;
  }
}

void Table::insert(std::uint64_t hash, Entry& entry) noexcept {
  insert_into(first_.load(std::memory_order_relaxed), buckets_, hash, entry);
  ++size_;
  usual_bytes_ = entry.bytes();
}

Table::Place Table::place_of(std::uint64_t hash, const Entry& entry) noexcept {
  for (std::size_t index = home(hash, buckets_);; index = after(index)) {
    Bucket& bucket = first_.load(std::memory_order_relaxed)[index];
    for (unsigned alike = matches(bucket, tag(hash)); alike != 0; alike &= alike - 1) {
      if (address(bucket, first_of(alike)) == &entry) return {bucket, first_of(alike)};
    }
  }
}

void Table::erase(std::uint64_t hash, const Entry& entry) noexcept {
  const Place place = place_of(hash, entry);
  place.bucket.tags[place.slot] = free_tag;
  --size_;
  Bucket* const first = first_.load(std::memory_order_relaxed);
  for (std::size_t index = home(hash, buckets_); &first[index] != &place.bucket;
       index = after(index)) {
    if (first[index].passed_on < many_passed_on) --first[index].passed_on;
  }
}

void Table::replace(std::uint64_t hash, const Entry& old, Entry& fresh) noexcept {
  const Place place = place_of(hash, old);
  put(place.bucket, place.slot, tag(hash), fresh);
  usual_bytes_ = fresh.bytes();
}

void Table::prefetch_entry(std::uint64_t hash) const noexcept {
  if (size_ == 0) return;
  const Bucket& bucket = first_.load(std::memory_order_relaxed)[home(hash, buckets_)];
  const unsigned alike = matches(bucket, tag(hash));
  if (alike == 0) return;
  const Entry* const entry = address(bucket, first_of(alike));
  __builtin_prefetch(entry);
  prefetch_rest(*entry);
}

}  // namespace polycache::locmem
