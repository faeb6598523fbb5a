#include "failsafe.h"

#include <mutex>
#include <utility>

#include "cold_mutex.h"

namespace polycache {
namespace {

constexpr std::chrono::seconds kTellEvery{60};

}  // namespace

bool Failsafe::admit(Access access) noexcept {
  const bool admitted = traits_.breaks_circuits
                            ? traits_.breaker == nullptr || !traits_.breaker->refuses(access)
                            : own_.admit(access);
  if (!admitted) refused_.fetch_add(1, std::memory_order_relaxed);
  return admitted;
}

Failsafe::News Failsafe::note_failure(Access access, const BackendError& error, bool thrown) {
  News news;
  if (!traits_.breaks_circuits) news.breaker = own_.failed(access, error.kind());
  const auto now = clock_.steady_now();
  std::string text = error.what();
  const std::lock_guard lock(cold_mutex());
  troubled_.store(true, std::memory_order_relaxed);
  down_.store(true, std::memory_order_relaxed);
  last_error_.swap(text);
  Told& told = thrown ? thrown_ : told_.at(static_cast<std::size_t>(error.kind()));
  if (!thrown) ++told.untold;
  if (told.last && now - *told.last < kTellEvery) return news;
  if (!thrown) {
    news.failures = std::exchange(told.untold, 0) + refused_.exchange(0, std::memory_order_relaxed);
    if (told.last) news.since = std::chrono::ceil<std::chrono::seconds>(now - *told.last);
  }
  told.last = now;
  recovery_due_ = true;
  return news;
}

Failsafe::News Failsafe::note_success(Access access) noexcept {
  News news;
  if (!traits_.breaks_circuits) news.breaker = own_.succeeded(access);
  if (own_.calm()) troubled_.store(false, std::memory_order_relaxed);
  if (!down_.exchange(false, std::memory_order_relaxed)) return news;
  const std::lock_guard lock(cold_mutex());
  if (!std::exchange(recovery_due_, false)) return news;
  news.recovered = true;
  news.went_without = refused_.exchange(0, std::memory_order_relaxed);
  for (Told& told : told_) news.went_without += std::exchange(told.untold, 0);
  return news;
}

CircuitBreaker::State Failsafe::breaker_state() const noexcept {
  if (!traits_.breaks_circuits) return own_.state(Access::write);
  return traits_.breaker != nullptr ? traits_.breaker->state(Access::write)
                                    : CircuitBreaker::State::closed;
}

std::chrono::milliseconds Failsafe::pause_left(Access access) const noexcept {
  if (!traits_.breaks_circuits) return own_.pause_left(access);
  return traits_.breaker != nullptr ? traits_.breaker->pause_left(access)
                                    : std::chrono::milliseconds::zero();
}

std::string Failsafe::last_error() const {
  const std::lock_guard lock(cold_mutex());
  return last_error_;
}

}  // namespace polycache
