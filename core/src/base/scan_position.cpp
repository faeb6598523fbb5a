#include "polycache/author/scan_position.h"

#include <charconv>

#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

ScanPosition ScanPosition::from(std::string_view cursor, std::size_t parts,
                                std::uint64_t last_point, std::string_view store) {
  ScanPosition position;
  if (cursor.empty()) return position;
  const char* const end = cursor.data() + cursor.size();
  const auto part = std::from_chars(cursor.data(), end, position.part);
  if (part.ec == std::errc() && part.ptr != end && *part.ptr == '.') {
    const auto point = std::from_chars(part.ptr + 1, end, position.point);
    if (point.ec == std::errc() && point.ptr == end && position.part < parts &&
        position.point <= last_point) {
      return position;
    }
  }
  throw ValueError("the cursor " + quote(cursor) + " is none of this " + std::string(store) +
                   " store");
}

std::string ScanPosition::cursor() const {
  return std::to_string(part) + '.' + std::to_string(point);
}

}  // namespace polycache
