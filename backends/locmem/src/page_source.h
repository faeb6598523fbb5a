// Provides the shards of a store with pages for their entries and tables.
//
// Pages are cut from chunks. The first chunks are small; once a store has grown to some MiB, they
// are 2 MiB, aligned, and advised to be one huge page each: a read at a random place of a large
// store would otherwise spend as long on address translation as on the memory access. An empty
// chunk is returned to the system, except one while others are in use.

#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "polycache/author/spin_lock.h"

namespace polycache::locmem {

// Thread-safe. Everything must be given back before it is destroyed.
class PageSource {
 public:
  static constexpr std::size_t page_bytes = 4096;
  static constexpr std::size_t chunk_bytes = std::size_t{2} << 20;

  // Returns memory of whole pages from the system, or null. Aligned to chunk_bytes if it is that
  // large, otherwise to 16 pages.
  using Map = void* (*)(std::size_t bytes);
  static void* map_from_system(std::size_t bytes) noexcept;

  explicit PageSource(Map mapping = map_from_system) noexcept : map_(mapping) {}
  PageSource(const PageSource&) = delete;
  PageSource& operator=(const PageSource&) = delete;
  ~PageSource();

  // Takes this many contiguous pages, the first at a multiple of `alignment` pages: a power of two,
  // at most 16. Null if memory is short. Their content is unspecified.
  void* take(std::size_t pages, std::size_t alignment = 1) noexcept;
  // REQUIRES: the result of take(), with the same number.
  void give_back(void* memory, std::size_t pages) noexcept;

  // Bytes obtained from the system and not returned; of those, the bytes taken.
  std::uint64_t held() noexcept;
  std::uint64_t taken() noexcept;

 private:
  static constexpr std::size_t chunk_pages = chunk_bytes / page_bytes;

  struct Chunk {
    char* memory;
    std::size_t pages;
    std::size_t unused;
    std::bitset<chunk_pages> used;

    // The first of this many unused pages, or `pages` if there are none.
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
  std::size_t full_ = 0;       // this many of the first are full
  std::size_t empty_ = 0;      // this many, anywhere, are empty
};

}  // namespace polycache::locmem
