// A place of a lock or semaphore that this process has taken.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "polycache/author/clock.h"
#include "polycache/author/extension.h"
#include "polycache/author/fork.h"
#include "polycache/cache.h"

namespace polycache::detail {

class Hold {
 public:
  using Time = std::chrono::steady_clock::time_point;  // of the registry's clock
  enum class State : unsigned char {
    held,
    lost,   // its lease ended, or the store has given the place to another
    ended,  // released, or passed on
  };
  struct Place {
    std::string what;  // "lock"
    std::string name;
    std::string stored_as;  // Cache::with_extension() makes the key of it
    std::uint32_t permits;
    std::chrono::milliseconds lease;
    bool renews;
  };

  // `asked`: before the store was asked.
  Hold(Place place, std::string token, std::uint64_t fence, Cache& cache, Time asked);
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  const Place& place() const noexcept { return place_; }
  const std::string& token() const noexcept { return token_; }
  std::uint64_t fence() const noexcept { return fence_; }
  std::thread::id thread() const noexcept { return thread_; }
  const std::shared_ptr<CacheState>& state() const noexcept { return state_; }
  // A child of fork() has no part in it.
  bool is_of_this_process() const noexcept { return forks_ == fork_count(); }

  LockExtension::Claim claim(std::string_view key) const noexcept {
    return {.key = key, .token = token_, .permits = place_.permits};
  }

  State status() const noexcept { return status_.load(std::memory_order_acquire); }
  // Whether it is held, and its lease has not ended.
  bool is_alive() const noexcept { return status() == State::held && now() < end(); }
  // Ends it here. Returns what it was.
  State finish() noexcept { return status_.exchange(State::ended, std::memory_order_acq_rel); }
  // Does not fire the stop token. Returns whether it was held until now.
  bool mark_lost() noexcept;
  // The same, and fires the stop token if it was.
  bool lose() noexcept;

  std::stop_token stop_token() const noexcept { return stop_.get_token(); }
  void request_stop() noexcept { stop_.request_stop(); }

  Time now() const noexcept { return clock_.steady_now(); }
  Time end() const noexcept { return Time(Time::duration(end_.load(std::memory_order_acquire))); }
  // The store has given it a new lease; it was asked then.
  void renewed(Time asked) noexcept;

  // Used by the keeper, under its mutex.
  Time renew_at = Time::max();
  bool is_being_renewed = false;
  // How often a thread has a recursive lock, apart from the first time. Used by that thread.
  std::uint64_t more_times = 0;

 private:
  Time end_after(Time asked) const noexcept;

  const Place place_;
  const std::string token_;
  const std::uint64_t fence_;
  const std::shared_ptr<CacheState> state_;
  const Clock& clock_;
  const std::thread::id thread_ = std::this_thread::get_id();
  const std::uint32_t forks_ = fork_count();
  std::atomic<Time::rep> end_;
  std::atomic<State> status_{State::held};
  std::stop_source stop_;
};

// One round trip each. They throw what Cache::with_extension() throws.
bool renew_in_store(Cache& cache, const Hold& hold);
bool release_in_store(Cache& cache, const Hold& hold);

// Tells the alias's warning handler, whatever that throws.
void warn_of_loss(const Cache& cache, const Hold& hold, std::string_view why) noexcept;

inline constexpr std::string_view lack_of_locks = "has no locks";

}  // namespace polycache::detail
