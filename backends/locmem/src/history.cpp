#include "history.h"

#include <algorithm>
#include <new>
#include <utility>

namespace polycache::locmem {
namespace {

// Makes room for the mark; 0 denotes a free place.
constexpr std::uint32_t without_mark(std::uint32_t fingerprint) noexcept {
  return std::max(fingerprint & ~1U, 2U);
}

}  // namespace

void History::push(Set& set, std::uint32_t place) noexcept {
  std::copy_backward(set.newest_first, set.newest_first + ways - 1, set.newest_first + ways);
  set.newest_first[0] = place;
}

void History::add(std::uint32_t fingerprint, bool mark, std::size_t capacity) noexcept {
  const std::size_t wanted = std::max<std::size_t>(1, (capacity + ways - 1) / ways);
  // The capacity follows the number of entries, which fluctuates slightly.
  if (wanted > count_ + count_ / 4 || wanted < count_ / 2) resize(wanted);
  const std::uint32_t place = without_mark(fingerprint) | (mark ? 1 : 0);
  if (count_ != 0) push(set_of(place), place);
}

std::optional<History::Memory> History::take(std::uint32_t fingerprint) noexcept {
  if (count_ == 0) return std::nullopt;
  const std::uint32_t wanted = without_mark(fingerprint);
  auto& places = set_of(wanted).newest_first;
  const auto is_it = [&](std::uint32_t place) { return (place & ~1U) == wanted; };
  // Usually it is absent, which this loop detects for several places at once.
  std::uint32_t found = 0;
  for (const std::uint32_t place : places) found |= is_it(place) ? 1 : 0;
  if (found == 0) return std::nullopt;
  auto* const place = std::find_if(places, places + ways, is_it);
  const bool mark = (*place & 1) != 0;
  int newer_alike = 0;
  for (auto* newer = places; newer != place && newer_alike < many_alike; ++newer) {
    newer_alike += ((*newer ^ *place) & 1) == 0 ? 1 : 0;
  }
  std::copy(place + 1, places + ways, place);
  places[ways - 1] = 0;
  return Memory{mark, newer_alike};
}

void History::resize(std::size_t count) noexcept {
  std::unique_ptr<Set[]> fresh(new (std::nothrow) Set[count]());
  const std::unique_ptr<Set[]> old = std::exchange(sets_, std::move(fresh));
  const std::size_t old_count = std::exchange(count_, sets_ ? count : 0);
  if (!sets_) return;
  for (std::size_t i = 0; i < old_count; ++i) {
    for (std::size_t way = ways; way-- > 0;) {  // oldest first, in order of arrival
      const std::uint32_t place = old[i].newest_first[way];
      if (place != 0) push(set_of(place), place);
    }
  }
}

void History::clear() noexcept {
  sets_.reset();
  count_ = 0;
}

}  // namespace polycache::locmem
