#include "polycache/author/clock.h"

#include <atomic>
#include <ctime>

namespace polycache {

namespace {
constinit std::atomic<std::uint64_t> next_identity{1};
}

Clock::Clock() noexcept : identity_(next_identity.fetch_add(1, std::memory_order_relaxed)) {}

Clock::~Clock() = default;

namespace {

class RealClock final : public Clock {
 public:
  std::chrono::steady_clock::time_point steady_now() const noexcept override {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return std::chrono::steady_clock::time_point(std::chrono::seconds(now.tv_sec) +
                                                 std::chrono::nanoseconds(now.tv_nsec));
  }

  std::chrono::system_clock::time_point system_now() const noexcept override {
    return std::chrono::system_clock::now();
  }
};

}  // namespace

const Clock& Clock::real() noexcept {
  // Never destroyed: threads that outlive main may still use it.
  alignas(RealClock) static unsigned char storage[sizeof(RealClock)];
  static const Clock* const clock = new (storage) RealClock;
  return *clock;
}

}  // namespace polycache
