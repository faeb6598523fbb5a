#include "polycache/lock.h"

#include "hold.h"

namespace polycache {

bool RecursiveLock::again() {
  const auto hold = core_.mine();
  if (!hold) return false;
  if (!hold->is_alive()) {
    core_.throw_misuse(
        "it was lost while this thread had it; release it as often as it was taken, then take it "
        "again");
  }
  ++hold->more_times;
  return true;
}

void RecursiveLock::lock() {
  if (!again()) core_.take(std::nullopt);
}

bool RecursiveLock::try_lock() {
  return again() || core_.take(std::chrono::steady_clock::time_point::min());
}

void RecursiveLock::unlock() noexcept {
  try {
    const auto hold = core_.mine();
    if (hold && hold->more_times > 0) {
      --hold->more_times;
      return;
    }
  } catch (const std::exception&) {  // no memory, in a child of fork(), which has no lock
    return;
  }
  core_.unlock(detail::LockCore::Whose::mine);
}

bool RecursiveLock::release() {
  const auto hold = core_.mine();
  if (hold && hold->more_times > 0) {
    --hold->more_times;
    return hold->is_alive();
  }
  return core_.release(detail::LockCore::Whose::mine);
}

}  // namespace polycache
