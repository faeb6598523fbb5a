// The 64-bit row id of a key. Depends on a secret of the file, so that keys cannot be chosen to
// evict each other.

#pragma once

#include <cstdint>
#include <string_view>

namespace polycache::sqlite {

struct HashSecret {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
};

// Part of the file format: never changed without a new schema version.
std::uint64_t hash_key(std::string_view key, const HashSecret& secret) noexcept;

}  // namespace polycache::sqlite
