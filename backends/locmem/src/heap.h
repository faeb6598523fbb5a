// The memory of a shard's entries: blocks in regions of 16 KiB, which come from the store's
// pages.
//
// Free neighbours are one block, and free blocks are found by their size, the smallest that
// is large enough first. So memory is never set aside for one size, and entries of another
// size find room when sizes change. What remains between them in holes is bounded: entries
// can be moved, and when holes make up more than a ninth of the heap and a little, the owner
// is asked to move some out of a region that holds few.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "page_source.h"
#include "spin_lock.h"

namespace polycache::locmem {

// REQUIRES, for everything but lock() and of(): the caller holds lock().
class Heap {
 public:
  // What a block takes beyond what is in it, and the steps that blocks grow in: the same as
  // the system's allocator has, so that it does not matter which of them an entry is from.
  static constexpr std::size_t kHeader = 8;
  static constexpr std::size_t kStep = 16;
  static constexpr std::size_t block(std::size_t size) noexcept {
    return (size + kHeader + kStep - 1) / kStep * kStep;
  }
  // The largest block.
  static constexpr std::size_t kMostBlock = 1536;
  static constexpr std::size_t kRegion = 16 << 10;

  Heap(PageSource& pages, SpinLock& lock) noexcept : pages_(pages), lock_(lock) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;
  ~Heap();

  SpinLock& lock() noexcept { return lock_; }
  // The heap that an allocation is from.
  static Heap& of(void* allocated) noexcept;

  // Memory for `size` bytes and up to the end of their block. Null if memory is short or the
  // block is too large, and while so little was asked for that a region would not pay.
  void* allocate(std::size_t size) noexcept;
  void free(void* allocated) noexcept;

  // Whether holes take so much that something should be moved.
  bool is_wasteful() const noexcept { return held_ > used_ + used_ / 8 + 2 * kRegion; }
  // The allocation to move next: what is allocated from now on is elsewhere. Null if there is
  // none to move, or no gain in it for the time being.
  void* next_to_move() noexcept;
  // It cannot be moved; it stays.
  void stop_moving() noexcept;

  std::uint64_t held() const noexcept { return held_; }  // regions
  std::uint64_t used() const noexcept { return used_; }  // blocks in use

 private:
  struct Block;
  struct FreeBlock;
  struct Region;

  static constexpr std::size_t kLeastBlock = 32;
  // One bin for each size, and one for all that are larger than the largest block.
  static constexpr std::size_t kBins = (kMostBlock - kLeastBlock) / kStep + 2;
  // A shard that holds less than this has its entries from the system's allocator.
  static constexpr std::size_t kWorthwhile = 4 << 10;

  static std::size_t bin_of(std::size_t size) noexcept {
    return size > kMostBlock ? kBins - 1 : (size - kLeastBlock) / kStep;
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
  std::uint64_t asked_ = 0;                                // what was asked for when it did not pay
  std::array<std::uint64_t, (kBins + 63) / 64> filled_{};  // a bit for each bin
  std::array<FreeBlock*, kBins> bins_{};
  Region* regions_ = nullptr;  // a ring

  // The region that entries are moved out of: its free blocks are in no bin.
  Region* closed_ = nullptr;
  int patience_ = 0;  // so often there is no gain in moving
};

}  // namespace polycache::locmem
