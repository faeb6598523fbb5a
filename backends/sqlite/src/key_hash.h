// The 64-bit name of a key in a table. Depends on a secret of the file's own, so that nobody
// can choose keys that push each other out.

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
