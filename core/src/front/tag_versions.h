// The versions of tags (polycache/tags.h) in the store: what a write needs to carry them, and
// whether those that an entry carries are current. None of these functions is called inside a sink.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/small_array.h"
#include "front/cache_state.h"
#include "front/current_tags.h"
#include "front/entry.h"
#include "front/reading.h"
#include "polycache/author/backend.h"
#include "polycache/author/extension.h"
#include "polycache/tags.h"

namespace polycache {

// What the store says of tags, each asked for once. A version that is missing, or cannot be one,
// is empty.
class KnownVersions {
 public:
  explicit KnownVersions(const CacheState& state) noexcept : state_(state) {}

  // Reads those that are not known yet, in one call.
  void read(Backend& session, std::span<const EntryTag> tags);
  // Tells this thread's recorders if they are.
  bool are_current(std::string_view content) const;
  // The same, without reporting to recorders.
  bool has_current(std::string_view content) const;

 private:
  bool are_current(std::span<const EntryTag> tags) const;

  const CacheState& state_;
  struct Known {
    std::optional<std::uint64_t> version;
    bool is_read;  // from the store, not remembered
  };
  std::map<std::string, Known, std::less<>> known_;
};

// The keys of the versions of some tags.
class TagKeys {
 public:
  // `Names`: of texts, or of EntryTags.
  template <class Names>
  TagKeys(const CacheState& state, const Names& names) : keys_(names.size()), views_(names.size()) {
    std::size_t i = 0;
    for (const auto& name : names) {
      state.compose_tag_key(keys_[i], text_of(name));
      views_[i] = keys_[i].view();
      ++i;
    }
  }

  std::span<const std::string_view> views() noexcept { return views_.all(); }
  std::string_view operator[](std::size_t i) noexcept { return views_[i]; }

  static constexpr std::size_t few = 4;

 private:
  static std::string_view text_of(std::string_view name) noexcept { return name; }
  static std::string_view text_of(const EntryTag& tag) noexcept { return tag.name; }

  SmallArray<FinalKey, few> keys_;
  SmallArray<std::string_view, few> views_;
};

// The version that the bytes under a tag's key are; empty if they are none.
std::optional<std::uint64_t> parse_version(std::string_view stored) noexcept;

// Whether the tags of an entry (the content of its field) have the versions that it carries, and
// tells this thread's recorders if so. `lasting`: of an entry whose life gets that long, lengthens
// the lives of its versions.
bool tags_are_current(Backend& session, const CacheState& state, std::string_view content,
                      std::optional<Ttl> lasting = std::nullopt);

// Whether this thread has a recorder.
bool is_recording() noexcept;
// Tells this thread's recorders that the entry was read.
void record_tags(const CacheState& state, std::span<const EntryTag> tags);
// The same for the content of a field.
void record_content(const CacheState& state, std::string_view content);

// The versions of those tags for an entry that lives for `ttl`. Makes those that are missing, and
// lengthens the lives of those that would end before the entry.
std::vector<std::uint64_t> take_versions(Backend& session, const CacheState& state,
                                         std::span<const std::string> names, Ttl ttl);

// Lengthens the lives of versions that are still what a snapshot says.
void lengthen_versions(Backend& session, const CacheState& state, std::span<const EntryTag> tags,
                       Ttl ttl);

// What is known of the tags of entries that were just read, without reading their versions. Made
// after the entries were read, so that a tag that was erased before does not count as current; and
// before their versions are, so that nothing is remembered of a tag that is erased meanwhile.
class TagsNow {
 public:
  TagsNow(Backend& session, const CacheState& state, CurrentTags& remembered)
      : state_(state), remembered_(remembered) {
    if (!state.shared().has_tag_stamps()) return;
    TagStampExtension* const stamps = remembered.stamps_of(session);
    if (stamps != nullptr) stamp_ = stamps->tag_stamp();
  }

  // Whether these tags are known to be current. Tells this thread's recorders if so.
  bool are_current(std::string_view content) const {
    if (!stamp_ || !remembered_.has(content, *stamp_)) return false;
    if (is_recording()) [[unlikely]]
      record_content(state_, content);
    return true;
  }
  // Their versions have been read since, from the store itself, and were current.
  void remember(std::string_view content) const noexcept {
    if (stamp_) remembered_.remember(content, *stamp_);
  }

 private:
  const CacheState& state_;
  CurrentTags& remembered_;
  std::optional<std::uint64_t> stamp_;
};

// Finds out whether an entry with Outcome::tagged counts.
void check_tags(Backend& session, const CacheState& state, CurrentTags& remembered,
                Reading& reading);
template <class Operation>
void check_tags(const Operation& operation, Backend& session, Reading& reading) {
  check_tags(session, operation.state(), operation.current_tags(), reading);
}

// Entries of a bulk read with Outcome::tagged, with their places in the call.
using TaggedReadings = std::vector<std::pair<std::size_t, Reading>>;

// Finds out which of them count. Reads all versions that are needed in one call.
void check_tags_of(Backend& session, const CacheState& state, CurrentTags& remembered,
                   TaggedReadings& entries);
template <class Operation>
void check_tags_of(const Operation& operation, Backend& session, TaggedReadings& entries) {
  check_tags_of(session, operation.state(), operation.current_tags(), entries);
}

// Throws ValueError for the tags of a write with an empty name, a long one, or too many; `what`
// begins the message.
void check_tag_names(const CacheState& state, const detail::TagList& tags, std::string_view what);

}  // namespace polycache
