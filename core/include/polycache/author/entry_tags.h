// What a store may know of the tags (polycache/tags.h) of the entries that it keeps, for stores
// with an index of them (TagIndexExtension) or with stamps (TagStampExtension). Nothing else of a
// store depends on the format of stored bytes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "polycache/author/function_ref.h"
#include "polycache/detail/export.h"

namespace polycache {

// Calls each(version) for every tag that stored bytes carry: the version that the tag had when the
// entry was written, a random number that no other tag has. Calls nothing for a plain value, and
// for bytes that are damaged or of a newer format. Reads no clock. Thread-safe. Throws what `each`
// throws.
POLYCACHE_API void visit_tag_versions(std::string_view stored,
                                      FunctionRef<void(std::uint64_t version)> each);

// Whether an entry with that key and a value of that size may be the version of a tag: true for
// each of them, false for nearly all other entries. For TagStampExtension. Thread-safe.
inline bool is_tag_version(std::string_view key, std::size_t value_size) noexcept {
  return value_size == sizeof(std::uint64_t) && key.find(":~t") != std::string_view::npos;
}

}  // namespace polycache
