// Where the shards of a store get memory in pages: for entries, and for their tables.
//
// Pages are cut from chunks. The first are small; once a store has grown to some MiB they
// are of two MiB, aligned and advised to be one huge page each: a read at a random place of
// a large store would otherwise spend as long on finding its page as on the memory itself.
// A chunk that is empty goes back to the system, but for one while others are in use.

#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "spin_lock.h"

namespace polycache::locmem {

// Thread-safe. Everything must be given back before it is destroyed.
class PageSource {
 public:
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kChunk = std::size_t{2} << 20;

  // Memory of whole pages from the system, or null. Aligned to kChunk if it is that large, to
  // 16 pages if not.
  using Map = void* (*)(std::size_t bytes);
  static void* map_from_system(std::size_t bytes) noexcept;

  explicit PageSource(Map mapping = map_from_system) noexcept : map_(mapping) {}
  PageSource(const PageSource&) = delete;
  PageSource& operator=(const PageSource&) = delete;
  ~PageSource();

  // So many pages in a row, the first at a multiple of `alignment` pages: a power of two, 16
  // at most. Null if memory is short. Their bytes are what they happen to be.
  void* take(std::size_t pages, std::size_t alignment = 1) noexcept;
  // REQUIRES: what take() returned, with the same number.
  void give_back(void* memory, std::size_t pages) noexcept;

  // Bytes that were had from the system and not returned; of those, what is taken.
  std::uint64_t held() noexcept;
  std::uint64_t taken() noexcept;

 private:
  static constexpr std::size_t kChunkPages = kChunk / kPage;

  struct Chunk {
    char* memory;
    std::size_t pages;
    std::size_t unused;
    std::bitset<kChunkPages> used;

    // The first page of so many unused ones, or `pages` if there are none.
    std::size_t find(std::size_t wanted, std::size_t alignment) const noexcept;
    void mark(std::size_t first, std::size_t count, bool is_used) noexcept;
  };

  void* map(std::size_t bytes) noexcept;
  void unmap(void* memory, std::size_t bytes) noexcept;
  bool add_chunk() noexcept;
  void drop_empty_chunks() noexcept;

  const Map map_;
  SpinLock lock_;  // guards what follows
  std::uint64_t held_ = 0;
  std::vector<Chunk> chunks_;  // by address
  std::size_t full_ = 0;       // so many of the first are full
  std::size_t empty_ = 0;      // so many, anywhere, are empty
};

}  // namespace polycache::locmem
