// Where a page of a scan (ScanExtension) begins, for stores that are listed part by part: shards,
// servers. As a text, the cursor is "part.point".

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

struct ScanPosition {
  std::size_t part = 0;
  std::uint64_t point = 0;  // within the part, as the store defines it

  // The position of a cursor; the beginning if that is empty. Throws ValueError, which names the
  // store, if the cursor is malformed, or if part >= parts or point > last_point.
  POLYCACHE_API static ScanPosition from(std::string_view cursor, std::size_t parts,
                                         std::uint64_t last_point, std::string_view store);

  POLYCACHE_API std::string cursor() const;
};

}  // namespace polycache
