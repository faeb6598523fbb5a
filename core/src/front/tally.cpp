#include "front/tally.h"

#include <mutex>
#include <utility>

#include "base/cold_mutex.h"

namespace polycache {
namespace {

// The members of both sides, in pairs.
template <class F>
void for_each_number(F&& f) {
  f(&Tally::hits, &CacheStatistics::hits);
  f(&Tally::misses, &CacheStatistics::misses);
  f(&Tally::writes, &CacheStatistics::writes);
  f(&Tally::refused_writes, &CacheStatistics::refused_writes);
  f(&Tally::erased, &CacheStatistics::erased);
  f(&Tally::loads, &CacheStatistics::loads);
  f(&Tally::failed_loads, &CacheStatistics::failed_loads);
  f(&Tally::waits, &CacheStatistics::waits);
  f(&Tally::errors, &CacheStatistics::errors);
  f(&Tally::refusals, &CacheStatistics::refusals);
  f(&Tally::stale, &CacheStatistics::stale);
  f(&Tally::negative, &CacheStatistics::negative);
  f(&Tally::load_microseconds, &CacheStatistics::load_microseconds);
  f(&Tally::refreshes, &CacheStatistics::refreshes);
  f(&Tally::unmodified_loads, &CacheStatistics::unmodified_loads);
  f(&Tally::discarded_loads, &CacheStatistics::discarded_loads);
  f(&Tally::late_loads, &CacheStatistics::late_loads);
  f(&Tally::refused_jobs, &CacheStatistics::refused_jobs);
}

}  // namespace

void Tally::add_to(CacheStatistics& sum) const noexcept {
  for_each_number([&](auto mine, auto its) { sum.*its += (this->*mine).get(); });
}

void Tally::clear() noexcept {
  for_each_number([&](auto mine, auto) { (this->*mine).clear(); });
}

void Tally::join(TallyBook* book) noexcept {
  if (book == book_) return;
  const std::lock_guard lock(cold_mutex());
  if (book_ != nullptr) {
    add_to(book_->left_);
    if (next_ != nullptr) next_->previous_ = previous_;
    (previous_ != nullptr ? previous_->next_ : book_->first_) = next_;
  }
  clear();
  book_ = book;
  previous_ = nullptr;
  next_ = book != nullptr ? std::exchange(book->first_, this) : nullptr;
  if (next_ != nullptr) next_->previous_ = this;
}

CacheStatistics TallyBook::total() const {
  CacheStatistics total = left_;
  for (const Tally* tally = first_; tally != nullptr; tally = tally->next_) tally->add_to(total);
  return total;
}

CacheStatistics TallyBook::sum() const {
  const std::lock_guard lock(cold_mutex());
  CacheStatistics sum = total();
  for_each_number([&](auto, auto its) { sum.*its -= baseline_.*its; });
  return sum;
}

void TallyBook::reset() {
  const std::lock_guard lock(cold_mutex());
  baseline_ = total();
}

}  // namespace polycache
