// What locks and semaphores have in common: a name, a number of places, and the places that the
// threads of this process have taken. lock.h and semaphore.h include it.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "polycache/cache.h"
#include "polycache/cache_handle.h"
#include "polycache/key.h"
#include "polycache/lock_options.h"

namespace polycache::detail {

class Hold;  // a place that was taken

inline constexpr std::chrono::hours longest_timeout{24 * 36525};  // longer ones never end

// The moment after that time; empty: never. Zero, less, or no number: in the past.
template <class Rep, class Period>
std::optional<std::chrono::steady_clock::time_point> moment_after(
    const std::chrono::duration<Rep, Period>& time) {
  using Clock = std::chrono::steady_clock;
  if (!(time > time.zero())) return Clock::time_point::min();
  if (std::chrono::duration<double>(time) > longest_timeout) return std::nullopt;
  return Clock::now() + std::chrono::ceil<Clock::duration>(time);
}

// LockOptions, all of them decided.
struct LockSettings {
  std::chrono::milliseconds lease{30'000};
  bool renew = true;
  EvictingStore evicting_store = EvictingStore::refuse;
  std::string cache = "default";
};

// The same for a moment of any clock.
template <class Clock, class Duration>
std::optional<std::chrono::steady_clock::time_point> moment_of(
    const std::chrono::time_point<Clock, Duration>& moment) {
  // The difference of extreme moments would overflow, except as a floating-point number.
  using Seconds = std::chrono::duration<double>;
  const auto now = Clock::now();
  const Seconds left = Seconds(moment.time_since_epoch()) - Seconds(now.time_since_epoch());
  if (left < Seconds(-1)) return std::chrono::steady_clock::time_point::min();
  if (left > longest_timeout) return std::nullopt;
  return moment_after(moment - now);
}

// Thread-safe if it is made with an alias; otherwise used by the thread of its cache.
class LockCore {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;
  // Which place is meant: the thread's newest one, or that of any thread if it has none.
  enum class Whose : unsigned char { mine, anyones };

  // `cache`: null if the options name an alias. `what`: "lock", for messages.
  LockCore(Cache* cache, std::string_view what, KeyView name, std::uint32_t permits,
           const LockOptions& options);
  LockCore(const LockCore&) = delete;
  LockCore& operator=(const LockCore&) = delete;
  // Releases what is still taken. Reports no failure.
  ~LockCore();

  const std::string& name() const noexcept { return name_; }
  std::uint32_t permits() const noexcept { return permits_; }

  // Takes a place; waits for one until the moment, or for ever. Returns whether it has one.
  bool take(std::optional<SteadyTime> until);
  // Takes over the place of a token, if the store still has it.
  bool adopt(std::string_view token);

  // As Lock::release() and Lock::unlock() say.
  bool release(Whose whose);
  void unlock(Whose whose) noexcept;
  // Ends the thread's place here, but not in the store. Returns its token.
  std::string detach();

  // Of the calling thread's newest place; null if it has none.
  std::shared_ptr<Hold> mine() const;
  // The same; throws CacheError if it has none. `what`: "fence()".
  std::shared_ptr<Hold> must_have(std::string_view what) const;
  bool is_held() const;
  std::stop_token stop_token() const;
  std::uint64_t fence() const;
  std::string token() const;

  [[noreturn]] void throw_misuse(const std::string& problem) const;

 private:
  // The places of this process. A child of fork() has none, and must not touch those of its parent.
  struct InProcess;

  Cache& cache() const { return cache_.get(); }
  InProcess& here() const;
  void check_store(Cache& cache);
  void refuse_if_evicting(const Cache& cache, LockExtension& locks);
  std::shared_ptr<Hold> try_take(Cache& cache, std::chrono::milliseconds& wait);
  bool wait_for_release(Cache& cache, std::chrono::milliseconds limit) const;
  void make_way();
  void keep(const std::shared_ptr<Hold>& hold);
  std::shared_ptr<Hold> remove(Whose whose);
  bool release_where_taken(const Hold& hold) const;
  void unlock(Hold& hold) const noexcept;

  const std::string what_;
  const bool is_semaphore_;
  const std::string name_;
  const std::string stored_as_;  // locks and semaphores of one name do not meet
  const std::uint32_t permits_;
  const LockSettings settings_;
  const CacheHandle cache_;
  mutable std::atomic<InProcess*> here_;
};

}  // namespace polycache::detail
