#include "page_source.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

#include "poison.h"

namespace polycache::locmem {
namespace {

constexpr std::size_t first_chunk_bytes = 64 << 10;
// From this size on, one more huge page makes little difference.
constexpr std::uint64_t huge_from = 2 * PageSource::chunk_bytes;

std::uintptr_t number(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address);
}

// Maps more than needed and unmaps the excess at both ends.
void* map_aligned(std::size_t bytes, std::size_t alignment) noexcept {
  void* const all = ::mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(all);
  const std::size_t before = (alignment - number(begin) % alignment) % alignment;
  if (before > 0) ::munmap(begin, before);
  ::munmap(begin + before + bytes, alignment - before);
  return begin + before;
}

// The leak checker searches allocated memory for pointers, not mapped memory.
void* allocate_aligned(std::size_t bytes, std::size_t alignment) noexcept {
  void* memory = nullptr;
  return ::posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

}  // namespace

void* PageSource::map_from_system(std::size_t bytes) noexcept {
  const std::size_t alignment = bytes >= chunk_bytes ? chunk_bytes : first_chunk_bytes;
  if (under_address_sanitizer) return allocate_aligned(bytes, alignment);
  void* const memory = map_aligned(bytes, alignment);
  // A hint: without huge pages everything works, but slower.
  if (memory != nullptr && bytes >= chunk_bytes) ::madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

void* PageSource::map(std::size_t bytes) noexcept {
  void* const memory = map_(bytes);
  if (memory != nullptr) held_ += bytes;
  return memory;
}

void PageSource::unmap(void* memory, std::size_t bytes) noexcept {
  unpoison(memory, bytes);
  held_ -= bytes;
  if (under_address_sanitizer) {
    std::free(memory);
  } else {
    ::munmap(memory, bytes);
  }
}

PageSource::~PageSource() {
  for (const Chunk& chunk : chunks_) unmap(chunk.memory, chunk.pages * page_bytes);
  assert(held_ == 0);
}

std::size_t PageSource::Chunk::find(std::size_t wanted, std::size_t alignment) const noexcept {
  std::size_t first = 0;
  for (std::size_t at = 0; first + wanted <= pages; ++at) {
    if (used[at]) {
      first = (at + alignment) / alignment * alignment;
      at = first - 1;
    } else if (at + 1 == first + wanted) {
      return first;
    }
  }
  return pages;
}

void PageSource::Chunk::mark(std::size_t first, std::size_t count, bool is_used) noexcept {
  for (std::size_t i = first; i < first + count; ++i) used[i] = is_used;
  unused = is_used ? unused - count : unused + count;
}

// An eighth of the current size, until a huge page is not much more than that.
bool PageSource::add_chunk() noexcept {
  const std::size_t eighth = std::bit_floor(static_cast<std::size_t>(held_ / 8));
  const std::size_t size = held_ >= huge_from ? chunk_bytes : std::max(eighth, first_chunk_bytes);
  void* const memory = map(size);
  if (memory == nullptr) return false;
  poison(memory, size);
  const std::size_t pages = size / page_bytes;
  const auto place = std::find_if(chunks_.begin(), chunks_.end(), [&](const Chunk& chunk) {
    return number(chunk.memory) > number(memory);
  });
  try {
    chunks_.insert(place, {static_cast<char*>(memory), pages, pages, {}});
  } catch (const std::bad_alloc&) {
    unmap(memory, size);
    return false;
  }
  full_ = 0;
  ++empty_;
  return true;
}

void* PageSource::take(std::size_t pages, std::size_t alignment) noexcept {
  const std::lock_guard lock(lock_);
  if (pages * page_bytes > first_chunk_bytes && (pages > chunk_pages / 4 || held_ < huge_from)) {
    return map(pages * page_bytes);
  }
  do {
    while (full_ < chunks_.size() && chunks_[full_].unused == 0) ++full_;
    for (std::size_t i = full_; i < chunks_.size(); ++i) {
      Chunk& chunk = chunks_[i];
      if (chunk.unused < pages) continue;
      const std::size_t first = chunk.find(pages, alignment);
      if (first == chunk.pages) continue;
      if (chunk.unused == chunk.pages) --empty_;
      chunk.mark(first, pages, true);
      unpoison(chunk.memory + first * page_bytes, pages * page_bytes);
      return chunk.memory + first * page_bytes;
    }
  } while (add_chunk());
  return nullptr;
}

void PageSource::give_back(void* memory, std::size_t pages) noexcept {
  const std::lock_guard lock(lock_);
  const auto after = std::upper_bound(
      chunks_.begin(), chunks_.end(), number(memory),
      [](std::uintptr_t address, const Chunk& chunk) { return address < number(chunk.memory); });
  const auto is_within = [&](const Chunk& chunk) {
    return number(memory) - number(chunk.memory) < chunk.pages * page_bytes;
  };
  if (after == chunks_.begin() || !is_within(*std::prev(after))) {  // had a mapping of its own
    unmap(memory, pages * page_bytes);
    return;
  }
  Chunk& chunk = *std::prev(after);
  poison(memory, pages * page_bytes);
  chunk.mark((number(memory) - number(chunk.memory)) / page_bytes, pages, false);
  full_ = std::min(full_, static_cast<std::size_t>(&chunk - chunks_.data()));
  if (chunk.unused == chunk.pages && ++empty_ > 1) drop_empty_chunks();
  if (empty_ == chunks_.size()) drop_empty_chunks();
}

// All of them if nothing is in use, else all but one, which may be needed next.
void PageSource::drop_empty_chunks() noexcept {
  bool keeps_one = empty_ < chunks_.size();
  std::erase_if(chunks_, [&](const Chunk& chunk) {
    if (chunk.unused < chunk.pages) return false;
    if (std::exchange(keeps_one, false)) return false;
    unmap(chunk.memory, chunk.pages * page_bytes);
    --empty_;
    return true;
  });
  full_ = 0;
}

std::uint64_t PageSource::held() noexcept {
  const std::lock_guard lock(lock_);
  return held_;
}

std::uint64_t PageSource::taken() noexcept {
  const std::lock_guard lock(lock_);
  std::uint64_t unused = 0;
  for (const Chunk& chunk : chunks_) unused += chunk.unused * page_bytes;
  return held_ - unused;
}

}  // namespace polycache::locmem
