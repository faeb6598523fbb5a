#include "polycache/net/reconnect_pace.h"

#include <algorithm>

#include "polycache/net/backoff.h"

namespace polycache::net {
namespace {

using namespace std::chrono_literals;

constexpr auto first_pause = 20ms;
constexpr auto longest_pause = 1000ms;
constexpr int most_doublings = 6;  // more make no difference

}  // namespace

std::int64_t ReconnectPace::now() const noexcept {
  return std::chrono::nanoseconds(clock_.steady_now().time_since_epoch()).count();
}

std::optional<ReconnectPace::Ticket> ReconnectPace::enter() noexcept {
  std::int64_t until = until_.load(std::memory_order_relaxed);
  if (until == 0) return 0;
  const std::int64_t moment = now();
  if (moment < until) return std::nullopt;
  const Ticket ticket = moment + patience_.count();
  if (!until_.compare_exchange_strong(until, ticket, std::memory_order_relaxed)) {
    return std::nullopt;  // another thread was faster
  }
  return ticket;
}

void ReconnectPace::succeeded() noexcept {
  if (failures_.load(std::memory_order_relaxed) != 0) failures_ = 0;
  if (until_.load(std::memory_order_relaxed) != 0) until_ = 0;
}

// Of several concurrent failures only one starts a pause.
void ReconnectPace::failed(Ticket ticket) noexcept {
  const std::int64_t until = now() + next_pause().count();
  if (until_.compare_exchange_strong(ticket, until, std::memory_order_relaxed)) {
    failures_.fetch_add(1, std::memory_order_relaxed);
  }
}

void ReconnectPace::leave(Ticket ticket) noexcept {
  if (ticket != 0) until_.compare_exchange_strong(ticket, now(), std::memory_order_relaxed);
}

std::chrono::milliseconds ReconnectPace::pause_left() const noexcept {
  const std::int64_t until = until_.load(std::memory_order_relaxed);
  const std::chrono::nanoseconds left(until == 0 ? 0 : std::max<std::int64_t>(until - now(), 0));
  return std::chrono::ceil<std::chrono::milliseconds>(left);
}

std::chrono::nanoseconds ReconnectPace::next_pause() const noexcept {
  const int doublings = std::min(failures_.load(std::memory_order_relaxed), most_doublings);
  const auto seed = static_cast<std::uint64_t>(now()) ^ reinterpret_cast<std::uintptr_t>(this);
  Backoff backoff(
      std::min<std::chrono::milliseconds>(first_pause * (1 << doublings), longest_pause),
      longest_pause, seed * 0x9E3779B97F4A7C15U);
  return backoff.next();
}

}  // namespace polycache::net
