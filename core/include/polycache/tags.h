// Tags: one call invalidates every entry that carries a name, on every store.
//
//   cache.set("post:7", post, {.tags = {"posts", "user:42"}});
//   cache.erase_tag("user:42");                       // and the entry is gone
//
//   const polycache::TagSnapshot before = cache.tags({"posts"});
//   auto page = render();                             // "posts" may be erased meanwhile
//   cache.set("page:/", page, {.tags = before});       // then this entry is invalid at once
//
// A tag has a version: a random number that the store keeps under a key of its own. An entry
// carries the versions that its tags had when it was written, and counts as absent as soon as one
// of them differs or is gone. So erase_tag() removes one key, however many entries carry the tag,
// and no clocks are compared. Entries without tags cost nothing.
//
// A version belongs to the prefix of an alias: all its versions and all programs with that prefix
// share it. Its key begins with the prefix and ":~", which no key of a user can.

#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/detail/export.h"
#include "polycache/key.h"

namespace polycache {

class Cache;

namespace detail {

// Names, and for a snapshot their versions and the key space that these belong to.
struct TagList {
  std::vector<std::string> names;            // sorted, each once
  std::vector<std::uint64_t> versions = {};  // of the names; empty: not read yet
  std::string space = {};                    // with versions: how the keys of tags begin
};

// A few short names in place, sorted, each once: they are copied with every call's options, and a
// copy that counts references takes longer.
class POLYCACHE_API ShortNames {
 public:
  ShortNames() noexcept {}  // NOLINT(modernize-use-equals-default): bytes_ needs no value
  // Empty if the names do not fit. REQUIRES: sorted, each once
  explicit ShortNames(std::span<const std::string_view> names) noexcept;
  ShortNames(const ShortNames& other) noexcept { *this = other; }
  ShortNames& operator=(const ShortNames& other) noexcept {
    size_ = other.size_;
    if (size_ != 0) bytes_ = other.bytes_;
    return *this;
  }
  ~ShortNames() = default;

  bool empty() const noexcept { return size_ == 0; }
  std::vector<std::string> names() const;

 private:
  unsigned char size_ = 0;      // of what is used
  std::array<char, 47> bytes_;  // for each name its size as one byte, and its bytes
};

}  // namespace detail

// The versions of some tags at one moment, from Cache::tags() or a TagRecorder. Cheap to copy.
class POLYCACHE_API TagSnapshot {
 public:
  TagSnapshot() noexcept = default;

  bool empty() const noexcept { return list_ == nullptr; }
  // Sorted, each once.
  std::vector<std::string> names() const;

 private:
  friend class Cache;
  friend class Tags;
  explicit TagSnapshot(std::shared_ptr<const detail::TagList> list) noexcept
      : list_(std::move(list)) {}

  std::shared_ptr<const detail::TagList> list_;
};

// The tags of a write: their names, or a snapshot of their versions. Cheap to copy. Allocates
// nothing for up to four names that take at most 47 bytes, with one more for each. A write refuses
// an empty name, one of more than 1024 bytes, and more than 64 names (ValueError).
class POLYCACHE_API Tags {
 public:
  Tags() noexcept = default;
  // NOLINTBEGIN(google-explicit-constructor): {.tags = {"posts", "user:42"}}
  Tags(std::initializer_list<KeyView> names);
  Tags(const std::vector<std::string>& names);
  template <detail::KeyText S>
  Tags(const S& name) : Tags(std::initializer_list<KeyView>{name}) {}
  Tags(const TagSnapshot& snapshot) noexcept : list_(snapshot.list_) {}
  // NOLINTEND(google-explicit-constructor)

  bool empty() const noexcept { return few_.empty() && list_ == nullptr; }
  // Sorted, each once.
  std::vector<std::string> names() const;

 private:
  friend class Cache;

  void assign(std::span<std::string_view> names);
  // REQUIRES: not empty
  std::shared_ptr<const detail::TagList> list() const;

  std::shared_ptr<const detail::TagList> list_;
  detail::ShortNames few_;  // in place of the list
};

// Collects the tags of every entry that caches of this thread read while it lives, so that what is
// computed from them can be invalidated with each of them:
//
//   polycache::TagRecorder recorder;
//   std::string page = render(cache.get<User>("user:42"), cache.get<Post>("post:7"));
//   cache.set("page:/", page, {.tags = cache.tags(recorder)});
//
// Tags of entries that get_or_set() computes and stores count as well. Recorders nest: an outer one
// collects what an inner one does. {.record_tags = true} of get_or_set() does the same for its
// computation. Lives on the stack of one thread, and is used there only.
class POLYCACHE_API TagRecorder {
 public:
  TagRecorder() noexcept;
  TagRecorder(const TagRecorder&) = delete;
  TagRecorder& operator=(const TagRecorder&) = delete;
  ~TagRecorder();

  // Of all caches, sorted, each once.
  std::vector<std::string> names() const;

 private:
  friend class Cache;
  friend struct TagAccess;
  struct Recorded {
    std::string space;
    std::string name;
    std::uint64_t version;  // the first that was seen
  };

  std::vector<Recorded> recorded_;
  TagRecorder* const outer_;
};

}  // namespace polycache
