#include "heap.h"

#include <bit>
#include <cassert>
#include <new>

#include "poison.h"

namespace polycache::locmem {

// The header of a block, followed by the allocation.
struct Heap::Block {
  static constexpr std::uint32_t used_flag = 1;
  static constexpr std::uint32_t before_is_free_flag = 2;

  std::uint32_t size_and_flags;  // sizes are multiples of block_step
  std::uint32_t size_before;     // of the block before this one, if that is free

  std::size_t size() const noexcept { return size_and_flags & ~(used_flag | before_is_free_flag); }
  bool is_used() const noexcept { return (size_and_flags & used_flag) != 0; }
  bool before_is_free() const noexcept { return (size_and_flags & before_is_free_flag) != 0; }
  void resize(std::size_t size) noexcept {
    size_and_flags =
        static_cast<std::uint32_t>(size) | (size_and_flags & (used_flag | before_is_free_flag));
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
  static constexpr std::size_t capacity = region_bytes - 48;

  Region* next;
  Region* previous;
  Heap* heap;
  std::uint64_t unused;

  Block& first() noexcept { return *reinterpret_cast<Block*>(this + 1); }
};

namespace {

// The links are not poisoned, since we still use them in free blocks.
void poison_free(char* payload, std::size_t block) noexcept {
  poison(payload + 2 * sizeof(void*), block - Heap::header_bytes - 2 * sizeof(void*));
}

}  // namespace

Heap::Region& Heap::region_of(const void* within) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(within);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the start of the region is computed
  return *reinterpret_cast<Region*>(address & ~(std::uintptr_t{region_bytes} - 1));
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
  void* const memory =
      pages_.take(region_bytes / PageSource::page_bytes, region_bytes / PageSource::page_bytes);
  if (memory == nullptr) return nullptr;
  held_ += region_bytes;
  auto* const region = ::new (memory) Region{nullptr, nullptr, this, 0};
  if (regions_ == nullptr) regions_ = region->next = region->previous = region;
  region->next = regions_;
  region->previous = regions_->previous;
  region->previous->next = region->next->previous = region;
  auto* const whole = ::new (&region->first()) FreeBlock{{Region::capacity, 0}, nullptr, nullptr};
  ::new (&whole->after()) Block{Block::used_flag | Block::before_is_free_flag, Region::capacity};
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
  held_ -= region_bytes;
  pages_.give_back(&region, region_bytes / PageSource::page_bytes);
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
  if (wanted > most_block) return nullptr;
  if (regions_ == nullptr && asked_ < worthwhile_bytes) {
    asked_ += wanted;
    return nullptr;
  }
  FreeBlock* const found = find(wanted);
  if (found == nullptr) return nullptr;
  unlink(*found);
  unpoison(found->payload(), found->size() - header_bytes);
  const std::size_t rest = found->size() - wanted;
  if (rest >= least_block) {
    found->resize(wanted);
    auto& tail = static_cast<FreeBlock&>(found->after());
    tail.size_and_flags = static_cast<std::uint32_t>(rest);
    tail.after().size_before = static_cast<std::uint32_t>(rest);
    poison_free(tail.payload(), rest);
    link(tail);
  } else {
    found->after().unset(Block::before_is_free_flag);
  }
  found->set(Block::used_flag);
  used_ += found->size();
  return found->payload();
}

void Heap::free(void* allocated) noexcept {
  Block* whole = &Block::of(allocated);
  const bool is_closed = &region_of(allocated) == closed_;
  used_ -= whole->size();
  whole->unset(Block::used_flag);
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
  if (size == Region::capacity) {
    drop_region(region_of(whole));
    return;
  }
  whole->resize(size);
  whole->after().set(Block::before_is_free_flag);
  whole->after().size_before = static_cast<std::uint32_t>(size);
  poison_free(whole->payload(), size);
  if (!is_closed) link(static_cast<FreeBlock&>(*whole));
}

// The least used of the next few regions, if moving pays.
Heap::Region* Heap::sparse_region() noexcept {
  constexpr int regions_looked_at = 4;
  Region* best = nullptr;
  std::size_t least = Region::capacity / 9 * 8;
  for (int n = 0; n < regions_looked_at; ++n, regions_ = regions_->next) {
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
  constexpr int writes_waited = 64;
  patience_ = writes_waited;
  if (closed_ == nullptr) return;
  for (Block* at = &closed_->first(); at->size() != 0; at = &at->after()) {
    if (!at->is_used()) link(static_cast<FreeBlock&>(*at));
  }
  closed_ = nullptr;
}

}  // namespace polycache::locmem
