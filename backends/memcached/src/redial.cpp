#include "redial.h"

#include <algorithm>

namespace polycache::memcached {
namespace {

using namespace std::chrono_literals;

constexpr auto kFirstPause = 20ms;
constexpr auto kLongestPause = 1s;

std::uint64_t seed_of(const void* object, const Clock& clock) noexcept {
  const auto ticks = static_cast<std::uint64_t>(clock.system_now().time_since_epoch().count());
  return (reinterpret_cast<std::uintptr_t>(object) ^ ticks) * 0x9E3779B97F4A7C15U;
}

}  // namespace

Redial::Redial(const Clock& clock, std::chrono::milliseconds longest_try) noexcept
    : clock_(clock),
      longest_try_(std::chrono::nanoseconds(longest_try).count()),
      pauses_(kFirstPause, kLongestPause, seed_of(this, clock)) {}

std::int64_t Redial::now() const noexcept {
  // Zero means that nothing failed.
  return std::max<std::int64_t>(
      1, std::chrono::nanoseconds(clock_.steady_now().time_since_epoch()).count());
}

bool Redial::claim_try() noexcept {
  const std::int64_t moment = now();
  std::int64_t due = not_before_.load(std::memory_order_relaxed);
  if (due == 0) return true;
  return moment >= due &&
         not_before_.compare_exchange_strong(due, moment + longest_try_, std::memory_order_relaxed);
}

void Redial::failed(std::int64_t begun) noexcept {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || begun < last_failure_) return;
  last_failure_ = now();
  not_before_.store(last_failure_ + pauses_.next().count(), std::memory_order_relaxed);
}

void Redial::forget_failures() noexcept {
  if (const std::unique_lock lock(mutex_, std::try_to_lock); lock) pauses_.reset();
  not_before_.store(0, std::memory_order_relaxed);
}

std::chrono::milliseconds Redial::pause_left() const noexcept {
  const std::int64_t due = not_before_.load(std::memory_order_relaxed);
  const std::int64_t left = due == 0 ? 0 : std::max<std::int64_t>(0, due - now());
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(left));
}

}  // namespace polycache::memcached
