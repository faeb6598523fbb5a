// Composes the commands that several operations need. No I/O.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "command.h"
#include "polycache/author/backend.h"

namespace polycache::redis {

// In milliseconds. REQUIRES: it is limited.
[[gnu::hot]] std::int64_t redis_lifetime(Ttl ttl) noexcept;

// Whether PSETEX does what a put needs: the server parses it faster than SET with a lifetime.
[[gnu::hot]] inline bool suits_psetex(const Item& item, PutMode mode) noexcept {
  return mode == PutMode::always && !item.ttl.is_forever();
}
[[gnu::hot]] void compose_put(CommandBuffer& commands, const Item& item, PutMode mode,
                              bool by_psetex);

// One command with these keys: "DEL a b".
template <class Key>
void compose(CommandBuffer& commands, std::string_view name, std::span<const Key> keys) {
  commands.begin(1 + keys.size());
  commands.word(name);
  for (const auto& key : keys) commands.word(key);
}

// A read of one byte, which is an error for another type.
void compose_type_check(CommandBuffer& commands, std::string_view key);
// A read of the 64 bytes that contains() shows.
void compose_head(CommandBuffer& commands, std::string_view key);

}  // namespace polycache::redis
