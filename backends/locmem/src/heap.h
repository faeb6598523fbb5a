// The memory of a shard's entries: blocks in regions of 16 KiB, which come from the store's pages.
//
// Adjacent free blocks are merged, and allocation takes the smallest free block that is large
// enough. Memory is thus never reserved for one size, and sizes may change over time. The memory
// lost in holes is bounded, since entries can be moved: when holes exceed a ninth of the heap and
// a little, the owner is asked to move some entries out of a sparsely used region.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "page_source.h"
#include "polycache/author/spin_lock.h"

namespace polycache::locmem {

// REQUIRES, for everything but lock() and of(): the caller holds lock().
class Heap {
 public:
  // A block's overhead, and the granularity of blocks: the same as the system's allocator has, so
  // that both cost the same.
  static constexpr std::size_t header_bytes = 8;
  static constexpr std::size_t block_step = 16;
  static constexpr std::size_t block(std::size_t size) noexcept {
    return (size + header_bytes + block_step - 1) / block_step * block_step;
  }
  // The largest block.
  static constexpr std::size_t most_block = 1536;
  static constexpr std::size_t region_bytes = 16 << 10;

  Heap(PageSource& pages, SpinLock& lock) noexcept : pages_(pages), lock_(lock) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;
  ~Heap();

  SpinLock& lock() noexcept { return lock_; }
  // The heap that an allocation is from.
  static Heap& of(void* allocated) noexcept;

  // Memory for `size` bytes and up to the end of their block. Null if memory is short, if the block
  // is too large, or while the total requested is too small for a region.
  void* allocate(std::size_t size) noexcept;
  void free(void* allocated) noexcept;

  // Whether holes are large enough that entries should be moved.
  bool is_wasteful() const noexcept { return held_ > used_ + used_ / 8 + 2 * region_bytes; }
  // The allocation to move next: allocations from now on lie elsewhere. Null if there is none, or
  // if moving currently gains nothing.
  void* next_to_move() noexcept;
  // The allocation cannot be moved and stays.
  void stop_moving() noexcept;

  std::uint64_t held() const noexcept { return held_; }  // regions
  std::uint64_t used() const noexcept { return used_; }  // blocks in use

 private:
  struct Block;
  struct FreeBlock;
  struct Region;

  static constexpr std::size_t least_block = 32;
  // One bin for each size, and one for all that are larger than the largest block.
  static constexpr std::size_t bin_count = (most_block - least_block) / block_step + 2;
  // A shard with less than this uses the system's allocator for its entries.
  static constexpr std::size_t worthwhile_bytes = 4 << 10;

  static std::size_t bin_of(std::size_t size) noexcept {
    return size > most_block ? bin_count - 1 : (size - least_block) / block_step;
  }
  static Region& region_of(const void* within) noexcept;

  FreeBlock* find(std::size_t size) noexcept;
  FreeBlock* add_region() noexcept;
  void drop_region(Region& region) noexcept;
  void link(FreeBlock& block) noexcept;
  void unlink(FreeBlock& block) noexcept;
  Region* sparse_region() noexcept;

  PageSource& pages_;
  SpinLock& lock_;
  std::uint64_t held_ = 0;
  std::uint64_t used_ = 0;
  std::uint64_t asked_ = 0;                                    // requested before the first region
  std::array<std::uint64_t, (bin_count + 63) / 64> filled_{};  // a bit for each bin
  std::array<FreeBlock*, bin_count> bins_{};
  Region* regions_ = nullptr;  // a ring

  // The region that entries are moved out of: its free blocks are in no bin.
  Region* closed_ = nullptr;
  int patience_ = 0;  // how many calls to skip, since moving gains nothing
};

}  // namespace polycache::locmem
