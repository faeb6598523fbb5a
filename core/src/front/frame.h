// Metadata around a stored value.
//
//   C1 'p' 'c'   magic; no UTF-8 text and no msgpack value begins with C1
//   01           format
//   u32 LE       length of the fields
//   fields       each: id byte, u32 LE length, bytes. An id of 80 hex or more must be
//                understood to read the entry; others may be skipped
//   payload      the value, to the end
//
// Format 1 has no fields yet: from the first release on, a plain value that happens to
// begin with the magic is wrapped, so that every entry that begins with it is a frame.
// Readers skip fields they do not know; a frame of another format, with an unknown field
// that must be understood, or cut short, is unreadable: a miss, and left alone.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace polycache::frame {

inline constexpr std::string_view magic = "\xC1pc";

inline bool is_frame(std::string_view stored) noexcept { return stored.starts_with(magic); }

// The payload of a frame, a view into `stored`; empty if it is unreadable.
// REQUIRES: is_frame(stored)
std::optional<std::string_view> payload(std::string_view stored) noexcept;

// Whether the head of a frame says that it is readable; `head` may be cut after 64 bytes.
// REQUIRES: is_frame(head)
bool is_readable(std::string_view head) noexcept;

// Puts a frame without fields around a value.
std::string wrap(std::string_view value);

}  // namespace polycache::frame
