// What is stored under a key: a plain value, or a frame, which adds metadata to its value. Decides
// for every operation whether it counts as an entry. The only place that knows the format.
//
//   0   C1 'p' 'c'  magic; no UTF-8 text and no msgpack value begins with C1
//   3   01          format
//   4   u8          flags (EntryFlag); an unknown flag makes the entry unreadable
//   5   u24         length of the head: these 32 bytes and the fields
//   8   i64         created, milliseconds since 1970; 0: unknown
//   16  i64         fresh until, milliseconds since 1970; 0: while the store keeps it
//   24  u32         microseconds that it took to compute the value, at most
//   28  u32         stale window: seconds after "fresh until" in which the value may still serve
//   32  fields      each: id byte, length as a varint (LEB128), bytes. An id of 80 (hex) or more
//                   must be understood to read the entry; other fields may be skipped
//                   80: the names of the transforms of the payload, separated by commas
//       payload     the value, to the end
//
// Numbers are little endian. A plain value that happens to begin with the magic is wrapped, so
// every entry that begins with it is a frame.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

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
  flag_tagged = 4,       // not understood yet
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
};

inline constexpr std::string_view entry_magic = "\xC1pc";
inline constexpr std::size_t entry_head_size = 32;

inline bool is_framed(std::string_view stored) noexcept { return stored.starts_with(entry_magic); }

struct JudgedEntry {
  EntryState state = EntryState::live;
  std::string_view payload = {};     // a view into the stored bytes; empty if unreadable
  std::string_view transforms = {};  // likewise: "shrink,seal"; empty if the payload is the value
};

// Evaluates a whole entry. Reads the clock only if the entry has times.
JudgedEntry judge_frame(std::string_view stored, const Clock& clock) noexcept;
inline JudgedEntry judge_entry(std::string_view stored, const Clock& clock) noexcept {
  if (!is_framed(stored)) [[likely]]
    return {EntryState::live, stored};
  return judge_frame(stored, clock);
}

// Evaluates the beginning of an entry: at least its first 64 bytes, or all of a shorter one. Empty
// if that is not enough.
std::optional<EntryState> judge_frame_head(std::string_view head, const Clock& clock) noexcept;
inline std::optional<EntryState> judge_head(std::string_view head, const Clock& clock) noexcept {
  if (!is_framed(head)) [[likely]]
    return EntryState::live;
  return judge_frame_head(head, clock);
}

// The head of a frame. REQUIRES: judge_frame() says that it is readable
EntryHead head_of_frame(std::string_view stored) noexcept;

// What a transform may bind a payload to: the fixed part of the head, its length as 0.
std::string bound_head(EntryHead head);

// The field that names the transforms of the payload, for make_frame() with flag_transformed.
std::string transforms_field(std::string_view names);

// Puts a frame around a value. REQUIRES: head and fields take less than 16 MiB
std::string make_frame(const EntryHead& head, std::string_view fields, std::string_view value);

}  // namespace polycache
