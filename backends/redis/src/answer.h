// The outcome of one command, and which outcomes a command can have. No I/O.

#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "polycache/author/backend.h"
#include "reply.h"

namespace polycache::redis {

// Values have gone to a sink.
struct Answer {
  Element::Type type = Element::Type::nil;
  std::int64_t integer = 0;
  std::string error = {};
};

// The replies that a command can have. Others close the connection; errors are thrown.
struct Expected {
  unsigned types;
  bool (*tolerated)(std::string_view error) noexcept = nullptr;  // accepted as replies
};

constexpr unsigned one_of(std::same_as<Element::Type> auto... type) noexcept {
  return ((1U << static_cast<unsigned>(type)) | ...);
}

// What a PTTL that found the key means.
inline Ttl lifetime_left(std::int64_t milliseconds) {
  if (milliseconds == -1) return Ttl::forever();
  return Ttl(std::chrono::milliseconds(std::max<std::int64_t>(milliseconds, 1)));
}

// For replies whose values do not matter.
inline void ignore(std::string_view) {}

}  // namespace polycache::redis
