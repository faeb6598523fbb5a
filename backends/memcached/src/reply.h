// A reply of a memcached server in the text protocol.

#pragma once

#include <cstdint>
#include <string_view>

#include "item.h"

namespace polycache::memcached {

struct Reply {
  enum class Kind : std::uint8_t {
    value,
    end,
    stored,
    not_stored,
    exists,
    not_found,
    deleted,
    ok,
    version,
    error,
    client_error,
    server_error,
    meta_hit,  // with the item's flags
    meta_miss,
  };

  Kind kind = Kind::error;
  Found item;             // of a value; of a meta_hit its flags only
  std::string_view line;  // of all others, without its end
};

}  // namespace polycache::memcached
