// What is stored under a key: a plain value, or a frame, which adds metadata to its value. Decides
// for every operation whether it counts as an entry. The only place that knows the format.
//
//   0   C1 'p' 'c'  magic; no UTF-8 text and no msgpack value begins with C1
//   3   01          format
//   4   u8          flags (EntryFlag); an unknown flag makes the entry unreadable
//   5   u24         length of the head: these 32 bytes and the fields
//   8   i64         created, milliseconds since 1970; 0: unknown
//   16  i64         fresh until, milliseconds since 1970; 0: while the store keeps it. Of a
//                   placeholder: when its lease ends
//   24  u32         microseconds that it took to compute the value, at most
//   28  u32         stale window: seconds after "fresh until" in which the value may still serve
//   32  fields      each: id byte, length as a varint (LEB128), bytes. An id of 80 (hex) or more
//                   must be understood to read the entry; other fields may be skipped
//                   80: the names of the transforms of the payload, separated by commas
//                   81: tags: for each the length of its name as a varint, the name, and u64 its
//                       version when the entry was written (tags.h)
//       payload     the value, to the end
//
// Numbers are little endian. A plain value that happens to begin with the magic is wrapped, so
// every entry that begins with it is a frame.

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/clock.h"

namespace polycache {

enum class EntryState : unsigned char {
  live,
  stale,       // may be returned where the caller accepts it
  negative,    // records that the value does not exist
  dead,        // its time is over, although the store still has it
  leased,      // a placeholder while another client computes the value
  unreadable,  // damaged, or of a newer format
};

enum EntryFlag : std::uint8_t {
  flag_negative = 1,
  flag_marked_stale = 2,
  flag_tagged = 4,       // a field has tags
  flag_transformed = 8,  // a field names the transforms of the payload
  flag_leased = 16,
};

// The part of the head that has a fixed size.
struct EntryHead {
  std::uint8_t flags = 0;
  std::int64_t created = 0;
  std::int64_t fresh_until = 0;
  std::uint32_t compute_microseconds = 0;
  std::uint32_t stale_seconds = 0;

  friend bool operator==(const EntryHead&, const EntryHead&) = default;
};

inline constexpr std::string_view entry_magic = "\xC1pc";
inline constexpr unsigned char tags_field_id = 0x81;
inline constexpr std::size_t entry_head_size = 32;

inline bool is_framed(std::string_view stored) noexcept { return stored.starts_with(entry_magic); }

struct JudgedEntry {
  EntryState state = EntryState::live;
  std::string_view payload = {};     // a view into the stored bytes; empty if unreadable
  std::string_view transforms = {};  // likewise: "shrink,seal"; empty if the payload is the value
  // Likewise; empty if it has none. Such an entry is dead if a tag has another version by now,
  // which only the store knows (tags.h): the state is what else the entry says.
  std::string_view tags = {};
  std::int64_t now = 0;  // if it has times: when it was judged, milliseconds since 1970
  EntryHead head = {};   // of a readable frame
};

// Milliseconds since 1970.
std::int64_t entry_time(const Clock& clock) noexcept;

// Evaluates a whole entry. Reads the clock only if the entry has times.
JudgedEntry judge_frame(std::string_view stored, const Clock& clock) noexcept;
inline JudgedEntry judge_entry(std::string_view stored, const Clock& clock) noexcept {
  if (!is_framed(stored)) [[likely]]
    return {EntryState::live, stored};
  return judge_frame(stored, clock);
}

// Whether it is a frame of this format without flags and fields, which most are.
inline bool is_simple_frame(std::string_view stored) noexcept {
  constexpr std::string_view beginning("\xC1pc\x01\0\x20\0\0", 8);
  return stored.size() >= entry_head_size && stored.starts_with(beginning);
}
// Whether a frame says when it was made or how long it is fresh. REQUIRES: at least its fixed part
inline bool has_times(std::string_view stored) noexcept {
  std::int64_t created = 0;
  std::int64_t fresh_until = 0;
  std::memcpy(&created, stored.data() + 8, sizeof created);
  std::memcpy(&fresh_until, stored.data() + 16, sizeof fresh_until);
  return (created | fresh_until) != 0;
}
// Evaluates such a frame, or one that has tags (tags_of_simple_frame): live, stale or dead. `now`:
// as in JudgedEntry.
EntryState judge_simple_frame(std::string_view stored, const Clock& clock, EntryHead& head,
                              std::int64_t& now) noexcept;

// Evaluates the beginning of an entry: at least its first 64 bytes, or all of a shorter one. Empty
// if that is not enough, as for an entry with tags that is not dead anyway.
std::optional<EntryState> judge_frame_head(std::string_view head, const Clock& clock) noexcept;
inline std::optional<EntryState> judge_head(std::string_view head, const Clock& clock) noexcept {
  if (!is_framed(head)) [[likely]]
    return EntryState::live;
  return judge_frame_head(head, clock);
}

// The head of a frame; without any flag or time if it is unreadable.
EntryHead head_of_frame(std::string_view stored) noexcept;

// Whether stored bytes, or their beginning, are a frame that ends to be fresh at some moment.
bool has_fresh_until(std::string_view stored) noexcept;

// The frame with another fixed part of the head; fields and payload stay. REQUIRES: as above
std::string with_head(std::string_view stored, const EntryHead& head);

// What a transform may bind a payload to: the fixed part of the head, its length as 0, and the
// tags. Without the mark of expire(), which the entry gets later.
std::string bound_head(EntryHead head, std::string_view tags);

// The field that names the transforms of the payload, for make_frame() with flag_transformed.
std::string transforms_field(std::string_view names);

struct EntryTag {
  std::string_view name;
  std::uint64_t version = 0;
};

// The content of the field that has tags, in that order, and the field itself, for make_frame()
// with flag_tagged.
std::string tags_content(std::span<const EntryTag> tags);
std::string tags_field(std::string_view content);
// Their views are into the content. Empty if it is damaged.
std::optional<std::vector<EntryTag>> read_tags(std::string_view content);
// Takes the first one from the front. Empty if it is damaged.
std::optional<EntryTag> take_long_tag(std::string_view& content) noexcept;
inline std::optional<EntryTag> take_tag(std::string_view& content) noexcept {
  constexpr bool is_little = std::endian::native == std::endian::little;
  const std::size_t size = content.empty() ? 0 : static_cast<unsigned char>(content.front());
  const bool is_short = size != 0 && size < 0x80 && content.size() > size + sizeof(std::uint64_t);
  if (!is_little || !is_short) [[unlikely]]
    return take_long_tag(content);
  EntryTag tag{content.substr(1, size)};
  std::memcpy(&tag.version, content.data() + 1 + size, sizeof tag.version);
  content.remove_prefix(1 + size + sizeof tag.version);
  return tag;
}

inline bool are_tags(std::string_view content) noexcept {
  while (!content.empty()) {
    if (!take_tag(content)) return false;
  }
  return true;
}

// The content of the field of tags of a frame of this format that has no other flag and no other
// field, as most entries with tags are; its payload follows. Empty for every other entry. Whether
// it are_tags() is not checked: a read that finds the same bytes as before need not.
inline std::string_view tags_of_simple_frame(std::string_view stored) noexcept {
  constexpr std::string_view beginning("\xC1pc\x01\x04", 5);  // with flag_tagged
  constexpr std::size_t at = entry_head_size + 2;             // the id, and a length of one byte
  if (stored.size() < at || !stored.starts_with(beginning)) return {};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(stored[i]); };
  const std::size_t size = byte(at - 1);
  const std::size_t head = byte(5) | std::size_t{byte(6)} << 8U | std::size_t{byte(7)} << 16U;
  const bool is_simple =
      byte(at - 2) == tags_field_id && size < 0x80 && head == at + size && stored.size() >= head;
  return is_simple ? stored.substr(at, size) : std::string_view();
}

// Puts a frame around a value. REQUIRES: head and fields take less than 16 MiB
std::string make_frame(const EntryHead& head, std::string_view fields, std::string_view value);

}  // namespace polycache
