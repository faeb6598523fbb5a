// The items that connections to a server send and receive.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lifetime.h"

namespace polycache::memcached {

inline constexpr std::size_t max_key = 250;

// A found item. The views are valid until the same connection is asked for items again; storing or
// erasing through it does not invalidate them.
struct Found {
  std::string_view key;
  std::string_view value;
  std::uint32_t flags = 0;
  std::uint64_t version = 0;  // for replace_version() and erase_version(); 0 if not requested
};

struct NewItem {
  std::string_view key;
  std::string_view value;
  Lifetime lifetime;
};

// The result of an erasure.
struct Removed {
  bool done = false;        // there was an item
  std::uint32_t flags = 0;  // its flags, as read just before
};

enum class How : std::uint8_t { set, add, replace_version };
// Whether an erasure reports the item's flags.
enum class Look : std::uint8_t { at_flags, at_nothing };

enum class Want : std::uint8_t { value, value_and_version };

enum class Outcome : std::uint8_t {
  done,
  exists,   // add: the item exists; replace_version: its version has changed
  absent,   // there is no such item
  refused,  // too large, or out of memory
};

}  // namespace polycache::memcached
