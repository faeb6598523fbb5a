#include "front/current_tags.h"

#include <new>

namespace polycache {

void CurrentTags::remember(std::string_view content, std::uint64_t stamp) noexcept {
  if (content.empty() || content.size() > longest_content) return;
  try {
    if (!places_) places_ = std::make_unique<std::array<Place, place_count>>();
    Place& place = (*places_)[index_of(content)];
    place.content = content;
    place.stamp = stamp;
    place.left = most_confirmations;
  } catch (const std::bad_alloc&) {  // the versions are read again
  }
}

}  // namespace polycache
