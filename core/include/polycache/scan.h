// Listing the keys of a cache by pattern: Cache::scan().
//
//   for (const EntryInfo& entry : cache.scan("user:*")) {
//     if (entry.size > 1'000'000) cache.erase(entry.key);
//   }
//
// A pattern is a glob (`*`, `?`, `[a-z]`, `\x`; author/glob.h) over the keys that the program uses,
// without prefix and version: it selects among the entries of one version of the cache. The keys
// "user:7" and "user:8" match "user:*"; Glob::escape() makes a pattern of any text.
//
// The scan reads the store in pages of some hundred entries. Between two pages it holds no lock and
// no connection, and the store serves others. Each page is an operation of its own, for observers
// and circuit breakers.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "polycache/detail/export.h"
#include "polycache/options.h"

namespace polycache {

class Cache;

// One entry, as it was when its page was read.
struct EntryInfo {
  // The key with which this cache reads the entry. Empty if the key function has replaced it by a
  // hash ("hashed" does so with keys that memcached would refuse).
  std::string key = {};
  // The key in the store, with prefix and version. Cache::backend() takes such keys.
  std::string final_key = {};
  // The bytes of the stored value, with metadata if it carries any. memcached: of the whole item,
  // with the key and the server's own overhead.
  std::uint64_t size = 0;
  // The lifetime that is left, at least a millisecond. Empty if the entry has no end, or if the
  // store does not know it.
  std::optional<std::chrono::milliseconds> left = {};
  // With ScanOptions::tags: the tags that it carries, sorted.
  std::vector<std::string> tags = {};
};

struct ScanOptions {
  detail::Version version = std::nullopt;  // default: the alias's version
  // Also reads the entries of each page, in one call, and the versions of their tags in another
  // (tags.h). EntryInfo::tags is then known, and every entry that counts as absent is left out. The
  // reads count as uses of the entries for eviction.
  bool tags = false;
};

// The entries that a scan finds, in no particular order: a range to be walked through once. Used on
// the thread of its cache, which must outlive it and follows no new configuration before the range
// is destroyed. The body of the loop may use the cache as any code may: read, write and erase, also
// what it was just given.
//
// Every entry that is there during the whole scan is listed at least once. One that is written or
// removed meanwhile may be listed or not. Expired entries are not listed; an entry that counts as
// absent for another reason (negative, unreadable, a tag was erased) may be, unless its tags are
// asked for. Only redis may list an entry twice,
// while its table of keys shrinks.
class POLYCACHE_API ScanRange {
 public:
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = EntryInfo;
    using difference_type = std::ptrdiff_t;

    Iterator() = default;

    // The entry stays in place until ++.
    const EntryInfo& operator*() const noexcept { return *range_->entry_; }
    const EntryInfo* operator->() const noexcept { return range_->entry_; }
    // Reads the next page after the last entry of one. Throws BackendError if the store fails,
    // whatever the alias's "on_error" is; the range then ends.
    Iterator& operator++() {
      range_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }

    friend bool operator==(const Iterator& at, std::default_sentinel_t) noexcept {
      return at.is_done();
    }

   private:
    friend class ScanRange;
    bool is_done() const noexcept { return range_->entry_ == nullptr; }
    explicit Iterator(ScanRange& range) noexcept : range_(&range) {}

    ScanRange* range_ = nullptr;
  };

  ScanRange(ScanRange&& other) noexcept;
  ScanRange& operator=(ScanRange&& other) noexcept;
  ~ScanRange();

  // Where the range is: a second call does not begin anew. Moving the range invalidates iterators.
  Iterator begin() noexcept { return Iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend class Cache;
  struct Pages;  // the type is complete in the library only

  explicit ScanRange(std::unique_ptr<Pages> pages);
  void advance();

  std::unique_ptr<Pages> pages_;
  const EntryInfo* entry_ = nullptr;  // null at the end
};

}  // namespace polycache
