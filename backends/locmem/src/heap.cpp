#include "heap.h"

#include <bit>
#include <cassert>
#include <new>

#include "poison.h"

namespace polycache::locmem {

// The header of a block, followed by the allocation.
struct Heap::Block {
  static constexpr std::uint32_t kUsed = 1;
  static constexpr std::uint32_t kBeforeIsFree = 2;

  std::uint32_t size_and_flags;  // sizes are multiples of kStep
  std::uint32_t size_before;     // of the block before this one, if that is free

  std::size_t size() const noexcept { return size_and_flags & ~(kUsed | kBeforeIsFree); }
  bool is_used() const noexcept { return (size_and_flags & kUsed) != 0; }
  bool before_is_free() const noexcept { return (size_and_flags & kBeforeIsFree) != 0; }
  void resize(std::size_t size) noexcept {
    size_and_flags = static_cast<std::uint32_t>(size) | (size_and_flags & (kUsed | kBeforeIsFree));
  }
  void set(std::uint32_t flag) noexcept { size_and_flags |= flag; }
  void unset(std::uint32_t flag) noexcept { size_and_flags &= ~flag; }

  char* payload() noexcept { return reinterpret_cast<char*>(this + 1); }
  static Block& of(void* allocated) noexcept { return static_cast<Block*>(allocated)[-1]; }

  Block& after() noexcept { return at_distance(static_cast<std::ptrdiff_t>(size())); }
  Block& before() noexcept { return at_distance(-static_cast<std::ptrdiff_t>(size_before)); }

 private:
  Block& at_distance(std::ptrdiff_t bytes) noexcept {
    return *reinterpret_cast<Block*>(reinterpret_cast<char*>(this) + bytes);
  }
};

struct Heap::FreeBlock : Heap::Block {
  FreeBlock* next;
  FreeBlock* previous;  // null: the first of its bin
};

// A region begins with this, followed by blocks, and ends with a header of size 0.
struct Heap::Region {
  static constexpr std::size_t kCapacity = kRegion - 48;

  Region* next;
  Region* previous;
  Heap* heap;
  std::uint64_t unused;

  Block& first() noexcept { return *reinterpret_cast<Block*>(this + 1); }
};

namespace {

// The links are not poisoned, since we still use them in free blocks.
void poison_free(char* payload, std::size_t block) noexcept {
  poison(payload + 2 * sizeof(void*), block - Heap::kHeader - 2 * sizeof(void*));
}

}  // namespace

Heap::Region& Heap::region_of(const void* within) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(within);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the start of the region is computed
  return *reinterpret_cast<Region*>(address & ~(std::uintptr_t{kRegion} - 1));
}

Heap& Heap::of(void* allocated) noexcept { return *region_of(allocated).heap; }

Heap::~Heap() {
  while (regions_ != nullptr) drop_region(*regions_);
}

void Heap::link(FreeBlock& block) noexcept {
  const std::size_t bin = bin_of(block.size());
  block.previous = nullptr;
  block.next = bins_[bin];
  if (block.next != nullptr) block.next->previous = &block;
  bins_[bin] = &block;
  filled_[bin / 64] |= std::uint64_t{1} << bin % 64;
}

void Heap::unlink(FreeBlock& block) noexcept {
  if (block.next != nullptr) block.next->previous = block.previous;
  if (block.previous != nullptr) {
    block.previous->next = block.next;
    return;
  }
  const std::size_t bin = bin_of(block.size());
  bins_[bin] = block.next;
  if (block.next == nullptr) filled_[bin / 64] &= ~(std::uint64_t{1} << bin % 64);
}

Heap::FreeBlock* Heap::add_region() noexcept {
  void* const memory = pages_.take(kRegion / PageSource::kPage, kRegion / PageSource::kPage);
  if (memory == nullptr) return nullptr;
  held_ += kRegion;
  auto* const region = ::new (memory) Region{nullptr, nullptr, this, 0};
  if (regions_ == nullptr) regions_ = region->next = region->previous = region;
  region->next = regions_;
  region->previous = regions_->previous;
  region->previous->next = region->next->previous = region;
  auto* const whole = ::new (&region->first()) FreeBlock{{Region::kCapacity, 0}, nullptr, nullptr};
  ::new (&whole->after()) Block{Block::kUsed | Block::kBeforeIsFree, Region::kCapacity};
  poison_free(whole->payload(), whole->size());
  link(*whole);
  return whole;
}

// REQUIRES: its blocks are in no bin, or the whole heap is destroyed.
void Heap::drop_region(Region& region) noexcept {
  region.previous->next = region.next;
  region.next->previous = region.previous;
  if (regions_ == &region) regions_ = region.next == &region ? nullptr : region.next;
  if (closed_ == &region) closed_ = nullptr;
  held_ -= kRegion;
  pages_.give_back(&region, kRegion / PageSource::kPage);
}

Heap::FreeBlock* Heap::find(std::size_t size) noexcept {
  const std::size_t bin = bin_of(size);
  std::uint64_t filled = filled_[bin / 64] & ~std::uint64_t{0} << bin % 64;
  for (std::size_t word = bin / 64;;) {
    if (filled != 0) {
      return bins_[word * 64 + static_cast<std::size_t>(std::countr_zero(filled))];
    }
    if (++word == filled_.size()) return add_region();
    filled = filled_[word];
  }
}

void* Heap::allocate(std::size_t size) noexcept {
  const std::size_t wanted = block(size);
  if (wanted > kMostBlock) return nullptr;
  if (regions_ == nullptr && asked_ < kWorthwhile) {
    asked_ += wanted;
    return nullptr;
  }
  FreeBlock* const found = find(wanted);
  if (found == nullptr) return nullptr;
  unlink(*found);
  unpoison(found->payload(), found->size() - kHeader);
  const std::size_t rest = found->size() - wanted;
  if (rest >= kLeastBlock) {
    found->resize(wanted);
    auto& tail = static_cast<FreeBlock&>(found->after());
    tail.size_and_flags = static_cast<std::uint32_t>(rest);
    tail.after().size_before = static_cast<std::uint32_t>(rest);
    poison_free(tail.payload(), rest);
    link(tail);
  } else {
    found->after().unset(Block::kBeforeIsFree);
  }
  found->set(Block::kUsed);
  used_ += found->size();
  return found->payload();
}

void Heap::free(void* allocated) noexcept {
  Block* whole = &Block::of(allocated);
  const bool is_closed = &region_of(allocated) == closed_;
  used_ -= whole->size();
  whole->unset(Block::kUsed);
  const auto absorb = [is_closed, this](Block& neighbour) {
    if (!is_closed) unlink(static_cast<FreeBlock&>(neighbour));
    return neighbour.size();
  };
  std::size_t size = whole->size();
  if (!whole->after().is_used()) size += absorb(whole->after());
  if (whole->before_is_free()) {
    whole = &whole->before();
    size += absorb(*whole);
  }
  if (size == Region::kCapacity) {
    drop_region(region_of(whole));
    return;
  }
  whole->resize(size);
  whole->after().set(Block::kBeforeIsFree);
  whole->after().size_before = static_cast<std::uint32_t>(size);
  poison_free(whole->payload(), size);
  if (!is_closed) link(static_cast<FreeBlock&>(*whole));
}

// The least used of the next few regions, if moving pays.
Heap::Region* Heap::sparse_region() noexcept {
  constexpr int kLookedAt = 4;
  Region* best = nullptr;
  std::size_t least = Region::kCapacity / 9 * 8;
  for (int n = 0; n < kLookedAt; ++n, regions_ = regions_->next) {
    std::size_t used = 0;
    for (Block* at = &regions_->first(); at->size() != 0; at = &at->after()) {
      if (at->is_used()) used += at->size();
    }
    if (used >= least) continue;
    least = used;
    best = regions_;
  }
  return best;
}

void* Heap::next_to_move() noexcept {
  if (closed_ == nullptr) {
    if (patience_ > 0) {
      --patience_;
      return nullptr;
    }
    closed_ = sparse_region();
    if (closed_ == nullptr) {
      stop_moving();
      return nullptr;
    }
    for (Block* at = &closed_->first(); at->size() != 0; at = &at->after()) {
      if (!at->is_used()) unlink(static_cast<FreeBlock&>(*at));
    }
  }
  // Moved entries form one free block at the beginning; the next allocation follows it.
  Block* const first = &closed_->first();
  return (first->is_used() ? *first : first->after()).payload();
}

void Heap::stop_moving() noexcept {
  constexpr int kWritesWaited = 64;
  patience_ = kWritesWaited;
  if (closed_ == nullptr) return;
  for (Block* at = &closed_->first(); at->size() != 0; at = &at->after()) {
    if (!at->is_used()) link(static_cast<FreeBlock&>(*at));
  }
  closed_ = nullptr;
}

}  // namespace polycache::locmem
