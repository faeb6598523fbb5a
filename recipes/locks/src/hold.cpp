#include "hold.h"

#include <utility>

#include "polycache/author/text.h"
#include "polycache/observer.h"

namespace polycache::detail {

Hold::Hold(Place place, std::string token, std::uint64_t fence, Cache& cache, Time asked)
    : place_(std::move(place)),
      token_(std::move(token)),
      fence_(fence),
      state_(cache.state()),
      clock_(cache.clock()),
      end_(end_after(asked).time_since_epoch().count()) {}

Hold::Time Hold::end_after(Time asked) const noexcept {
  using std::chrono::milliseconds;
  const auto most = std::chrono::duration_cast<milliseconds>(Time::max() - asked);
  return place_.lease >= most ? Time::max() : asked + place_.lease;
}

void Hold::renewed(Time asked) noexcept {
  end_.store(end_after(asked).time_since_epoch().count(), std::memory_order_release);
}

bool Hold::mark_lost() noexcept {
  State held = State::held;
  return status_.compare_exchange_strong(held, State::lost, std::memory_order_acq_rel);
}

bool Hold::lose() noexcept {
  if (!mark_lost()) return false;
  stop_.request_stop();
  return true;
}

bool renew_in_store(Cache& cache, const Hold& hold) {
  return cache.with_extension<LockExtension>(Op::renew_lock, hold.place().stored_as, lack_of_locks,
                                             [&](LockExtension& locks, std::string_view key) {
                                               return locks.renew(hold.claim(key),
                                                                  hold.place().lease);
                                             });
}

bool release_in_store(Cache& cache, const Hold& hold) {
  return cache.with_extension<LockExtension>(
      Op::unlock, hold.place().stored_as, lack_of_locks,
      [&](LockExtension& locks, std::string_view key) { return locks.release(hold.claim(key)); });
}

void warn_of_loss(const Cache& cache, const Hold& hold, std::string_view why) noexcept {
  try {
    cache.warn(Warning::Kind::lock_lost, hold.place().name,
               "The " + hold.place().what + ' ' + quote(hold.place().name) +
                   " was lost: " + std::string(why) + "; another owner may have had it meanwhile.");
  } catch (...) {  // a handler may throw anything, and no caller could receive it
  }
}

}  // namespace polycache::detail
