#include "history.h"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

namespace polycache::locmem {
namespace {

// Room for the mark, and 0 marks a free place.
constexpr std::uint32_t without_mark(std::uint32_t fingerprint) noexcept {
  return std::max(fingerprint & ~1U, 2U);
}

}  // namespace

void History::push(Set& set, std::uint32_t place) noexcept {
  std::copy_backward(set.newest_first, set.newest_first + kWays - 1, set.newest_first + kWays);
  set.newest_first[0] = place;
}

void History::add(std::uint32_t fingerprint, bool mark, std::size_t capacity) noexcept {
  const std::size_t wanted = std::max<std::size_t>(1, (capacity + kWays - 1) / kWays);
  // The capacity follows the number of entries, which moves a little all the time.
  if (wanted > count_ + count_ / 4 || wanted < count_ / 2) resize(wanted);
  const std::uint32_t place = without_mark(fingerprint) | (mark ? 1 : 0);
  if (count_ != 0) push(set_of(place), place);
}

std::optional<History::Memory> History::take(std::uint32_t fingerprint) noexcept {
  if (count_ == 0) return std::nullopt;
  const std::uint32_t wanted = without_mark(fingerprint);
  auto& places = set_of(wanted).newest_first;
  std::uint32_t found = 0;   // a bit for each place
  std::uint32_t marked = 0;  // the same
  for (std::size_t way = 0; way < kWays; ++way) {
    found |= static_cast<std::uint32_t>((places[way] ^ wanted) <= 1) << way;
    marked |= (places[way] & 1) << way;
  }
  if (found == 0) return std::nullopt;
  const int way = std::countr_zero(found);
  const bool mark = (marked >> way & 1) != 0;
  const std::uint32_t newer = (1U << way) - 1;
  std::copy(places + way + 1, places + kWays, places + way);
  places[kWays - 1] = 0;
  return Memory{mark, std::popcount((mark ? marked : ~marked) & newer)};
}

void History::resize(std::size_t count) noexcept {
  std::unique_ptr<Set[]> fresh(new (std::nothrow) Set[count]());
  const std::unique_ptr<Set[]> old = std::exchange(sets_, std::move(fresh));
  const std::size_t old_count = std::exchange(count_, sets_ ? count : 0);
  if (!sets_) return;
  for (std::size_t i = 0; i < old_count; ++i) {
    for (std::size_t way = kWays; way-- > 0;) {  // oldest first, as they came
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
