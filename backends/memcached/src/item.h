// Items, as connections with a server speak of them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lifetime.h"

namespace polycache::memcached {

inline constexpr std::size_t kMaxKey = 250;

// An item as it was found. The views are valid until the same connection is asked for items
// again; what is stored or erased through it leaves them alone.
struct Found {
  std::string_view key;
  std::string_view value;
  std::uint32_t flags = 0;
  std::uint64_t version = 0;  // for replace_version() and erase_version(); 0 if not asked for
};

struct NewItem {
  std::string_view key;
  std::string_view value;
  Lifetime lifetime;
};

// What an erasure came to.
struct Removed {
  bool done = false;        // there was an item
  std::uint32_t flags = 0;  // which had these, as it was seen just before
};

enum class Want : std::uint8_t { value, value_and_version };

enum class Outcome : std::uint8_t {
  done,
  exists,   // add: there is one; replace_version: it has another version by now
  absent,   // there is no such item
  refused,  // too large, or out of memory
};

}  // namespace polycache::memcached
