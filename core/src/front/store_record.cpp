#include "front/store_record.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/cold_mutex.h"

namespace polycache {
namespace {

constexpr std::chrono::seconds report_every{60};

// StoreRecord::down_
constexpr unsigned down_for_all = 1;
constexpr unsigned down_for_writes = 2;

std::int64_t nanoseconds(std::chrono::steady_clock::time_point moment) noexcept {
  return std::chrono::nanoseconds(moment.time_since_epoch()).count();
}

unsigned what_is_down(Access access, BackendError::Kind kind) noexcept {
  using Kind = BackendError::Kind;
  if (kind == Kind::unsupported) return 0;
  const bool nothing_heard =
      kind == Kind::unreachable || kind == Kind::timeout || kind == Kind::protocol;
  return access == Access::write && !nothing_heard ? down_for_writes : down_for_all;
}

}  // namespace

bool StoreRecord::admit(Access access) noexcept {
  if (!traits_.breaks_circuits) return own_.admit(access);
  return traits_.breaker == nullptr || !traits_.breaker->refuses(Access::read);
}

StoreRecord::News StoreRecord::note_failure(Access access, const BackendError& error, bool thrown) {
  News news;
  if (!traits_.breaks_circuits) news.breaker = own_.failed(access, error.kind());
  const auto now = clock_.steady_now();
  std::string text = error.what();
  std::string copy = text;
  const std::lock_guard lock(cold_mutex());
  troubled_.store(true, std::memory_order_relaxed);
  down_.fetch_or(what_is_down(access, error.kind()), std::memory_order_relaxed);
  last_error_.swap(copy);
  Reports& reports = thrown ? thrown_ : reports_.at(static_cast<std::size_t>(error.kind()));
  if (!thrown) ++reports.unreported;
  if (reports.last && now - *reports.last < report_every) {
    if (!thrown && sum_due_.load(std::memory_order_relaxed) == 0) {
      sum_due_.store(nanoseconds(*reports.last + report_every), std::memory_order_relaxed);
    }
    return news;
  }
  if (!thrown) {
    news.failures =
        std::exchange(reports.unreported, 0) + refused_.exchange(0, std::memory_order_relaxed);
    if (reports.last) news.since = std::chrono::ceil<std::chrono::seconds>(now - *reports.last);
    news.what.swap(text);
  }
  reports.last = now;
  recovery_due_ = true;
  return news;
}

StoreRecord::News StoreRecord::note_unsupported(Access access) noexcept {
  News news;
  if (!traits_.breaks_circuits) {
    news.breaker = own_.failed(access, BackendError::Kind::unsupported);
  }
  return news;
}

// Sums up failures that came too early to be reported and that no later failure reported.
// REQUIRES: the cold mutex is held.
StoreRecord::News StoreRecord::sum_up(std::chrono::steady_clock::time_point now) {
  News news;
  for (Reports& reports : reports_) {
    if (reports.unreported == 0) continue;
    news.failures += std::exchange(reports.unreported, 0);
    news.since = std::max(news.since, std::chrono::ceil<std::chrono::seconds>(now - *reports.last));
    reports.last = now;
  }
  news.failures += refused_.exchange(0, std::memory_order_relaxed);
  news.what = last_error_;
  sum_due_.store(0, std::memory_order_relaxed);
  recovery_due_ = true;
  return news;
}

StoreRecord::News StoreRecord::note_success(Access access, bool is_whole) {
  News news;
  if (!traits_.breaks_circuits) news.breaker = own_.succeeded(access);
  const unsigned before = down_.load(std::memory_order_relaxed);
  const unsigned still_down = access == Access::write ? 0 : before & ~down_for_all;
  const unsigned after = is_whole ? still_down : before;
  const std::int64_t due = sum_due_.load(std::memory_order_relaxed);
  const auto now = due != 0 ? clock_.steady_now() : std::chrono::steady_clock::time_point();
  const bool sum_is_due = due != 0 && nanoseconds(now) >= due;
  const bool all_is_well = due == 0 && after == 0 && own_.calm() && is_whole;
  if (before == after && !sum_is_due && !all_is_well) return news;
  const std::lock_guard lock(cold_mutex());
  if (sum_is_due) {
    const CircuitBreaker::Change breaker = news.breaker;
    news = sum_up(now);
    news.breaker = breaker;
  }
  down_.store(after, std::memory_order_relaxed);
  if (after != 0 || !is_whole) return news;
  if (std::exchange(recovery_due_, false)) {
    news.recovered = true;
    news.unreported = refused_.exchange(0, std::memory_order_relaxed);
    for (Reports& reports : reports_) news.unreported += std::exchange(reports.unreported, 0);
    sum_due_.store(0, std::memory_order_relaxed);
  }
  if (own_.calm() && sum_due_.load(std::memory_order_relaxed) == 0) {
    troubled_.store(false, std::memory_order_relaxed);
  }
  return news;
}

CircuitBreaker::State StoreRecord::breaker_state(Access access) const noexcept {
  if (!traits_.breaks_circuits) return own_.state(access);
  return traits_.breaker != nullptr ? traits_.breaker->state(access)
                                    : CircuitBreaker::State::closed;
}

std::chrono::milliseconds StoreRecord::pause_left(Access access) const noexcept {
  if (!traits_.breaks_circuits) return own_.pause_left(access);
  return traits_.breaker != nullptr ? traits_.breaker->pause_left(access)
                                    : std::chrono::milliseconds::zero();
}

std::string StoreRecord::last_error() const {
  const std::lock_guard lock(cold_mutex());
  return last_error_;
}

void StoreRecord::report(const News& news, std::string_view operation, std::string_view key,
                         FunctionRef<void(const Warning&)> warn) const {
  const auto times = [](std::uint64_t count) {
    return std::to_string(count) + (count == 1 ? " operation" : " operations");
  };
  if (news.failures > 0) {
    std::string message = std::string(operation) + ": continuing without the store: " + news.what;
    if (news.failures > 1) {
      message += " (" + times(news.failures) + " failed in the last " +
                 std::to_string(news.since.count()) + " s)";
    }
    warn({.kind = Warning::Kind::degraded, .key = key, .message = message, .count = news.failures});
  }
  if (news.breaker == CircuitBreaker::Change::opened) {
    const std::string message =
        "the store keeps failing and is not used for now; next attempt in " +
        std::to_string(pause_left(Access::write).count()) + " ms";
    warn({.kind = Warning::Kind::breaker_opened, .message = message});
  } else if (news.breaker == CircuitBreaker::Change::closed) {
    warn({.kind = Warning::Kind::breaker_closed, .message = "the store is used again"});
  }
  if (news.recovered) {
    std::string message = "the store answers again";
    if (news.unreported > 0) {
      message += " (" + times(news.unreported) + " more were done without it)";
    }
    warn({.kind = Warning::Kind::recovered, .message = message, .count = news.unreported + 1});
  }
}

}  // namespace polycache
