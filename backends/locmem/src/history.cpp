#include "history.h"

#include <algorithm>
#include <new>
#include <utility>

namespace polycache::locmem {
namespace {

// 0 marks a free place.
constexpr std::uint32_t nonzero(std::uint32_t fingerprint) noexcept {
  return fingerprint == 0 ? 1 : fingerprint;
}

}  // namespace

void History::push(Set& set, std::uint32_t fingerprint) noexcept {
  std::copy_backward(set.newest_first, set.newest_first + kWays - 1, set.newest_first + kWays);
  set.newest_first[0] = fingerprint;
}

void History::add(std::uint32_t fingerprint, std::size_t capacity) noexcept {
  const std::size_t wanted = std::max<std::size_t>(1, (capacity + kWays - 1) / kWays);
  // The capacity follows the number of entries, which moves a little all the time.
  if (wanted > count_ + count_ / 4 || wanted < count_ / 2) resize(wanted);
  if (count_ != 0) push(set_of(nonzero(fingerprint)), nonzero(fingerprint));
}

bool History::take(std::uint32_t fingerprint) noexcept {
  if (count_ == 0) return false;
  auto& places = set_of(nonzero(fingerprint)).newest_first;
  auto* const found = std::find(places, places + kWays, nonzero(fingerprint));
  if (found == places + kWays) return false;
  std::copy(found + 1, places + kWays, found);
  places[kWays - 1] = 0;
  return true;
}

void History::resize(std::size_t count) noexcept {
  std::unique_ptr<Set[]> fresh(new (std::nothrow) Set[count]());
  const std::unique_ptr<Set[]> old = std::exchange(sets_, std::move(fresh));
  const std::size_t old_count = std::exchange(count_, sets_ ? count : 0);
  if (!sets_) return;
  for (std::size_t i = 0; i < old_count; ++i) {
    for (std::size_t way = kWays; way-- > 0;) {  // oldest first, as they came
      const std::uint32_t fingerprint = old[i].newest_first[way];
      if (fingerprint != 0) push(set_of(fingerprint), fingerprint);
    }
  }
}

void History::clear() noexcept {
  sets_.reset();
  count_ = 0;
}

}  // namespace polycache::locmem
