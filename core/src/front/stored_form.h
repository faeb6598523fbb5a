// Between the bytes of a value and those that are stored.

#pragma once

#include <string>
#include <string_view>

#include "front/entry.h"

namespace polycache {

// The bytes to store: framed if they would otherwise look like a frame.
inline std::string_view stored_form(std::string_view value, std::string& framed) {
  if (!is_framed(value)) [[likely]]
    return value;
  framed = make_frame({}, {}, value);
  return framed;
}

}  // namespace polycache
