// Locks in the memory of one process, for stores that offer LockExtension and live there.
//
//   Taken take(const Claim& claim, std::chrono::milliseconds lease) override {
//     return shared_->locks.take(claim, lease);
//   }
//
// Thread-safe. Leases end by the clock's steady_now(). A child of fork() begins with a table
// without locks, since what the parent's threads own does not exist in the child; a thread that
// forks while another one uses the table needs lock_for_fork() and unlock_after_fork().

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "polycache/author/clock.h"
#include "polycache/author/extension.h"
#include "polycache/author/fork.h"
#include "polycache/author/spin_lock.h"

namespace polycache {

class LockTable {
 public:
  using Claim = LockExtension::Claim;
  using Taken = LockExtension::Taken;

  // The clock must outlive it.
  explicit LockTable(const Clock& clock)
      : clock_(clock), fence_(first_fence(clock)), forks_(fork_count()) {}
  LockTable(const LockTable&) = delete;
  LockTable& operator=(const LockTable&) = delete;

  // These three do what LockExtension says.

  Taken take(const Claim& claim, std::chrono::milliseconds lease) {
    const std::lock_guard lock(mutex_);
    const Time now = begin();
    if (locks_.size() >= sweep_at_) sweep(now);
    Holders& holders = locks_.try_emplace(std::string(claim.key)).first->second;
    std::erase_if(holders, [&](const Holder& holder) { return holder.ends <= now; });
    auto mine = find(holders, claim);
    if (mine == holders.end()) {
      if (holders.size() >= claim.permits) return {.wait = left(holders, now)};
      mine = holders.insert(mine, {std::string(claim.token), {}});
    }
    mine->ends = end_of(now, lease);
    return {.taken = true, .fence = ++fence_};
  }

  bool renew(const Claim& claim, std::chrono::milliseconds lease) {
    const std::lock_guard lock(mutex_);
    const Time now = begin();
    const auto entry = locks_.find(claim.key);
    if (entry == locks_.end()) return false;
    const auto mine = find(entry->second, claim);
    if (mine == entry->second.end() || mine->ends <= now) return false;
    mine->ends = end_of(now, lease);
    return true;
  }

  bool release(const Claim& claim) {
    const std::lock_guard lock(mutex_);
    const Time now = begin();
    const auto entry = locks_.find(claim.key);
    if (entry == locks_.end()) return false;
    const auto mine = find(entry->second, claim);
    if (mine == entry->second.end()) return false;
    const bool was_held = mine->ends > now;
    entry->second.erase(mine);
    if (entry->second.empty()) locks_.erase(entry);
    return was_held;
  }

  void lock_for_fork() noexcept { mutex_.lock(); }
  void unlock_after_fork() noexcept { mutex_.unlock(); }

 private:
  using Time = std::chrono::nanoseconds;
  struct Holder {
    std::string token;
    Time ends;
  };
  using Holders = std::vector<Holder>;
  static constexpr std::size_t least_sweep = 64;

  Time begin() {
    if (forks_ != fork_count()) {
      forks_ = fork_count();
      locks_.clear();
    }
    return clock_.steady_now().time_since_epoch();
  }
  static Time end_of(Time now, std::chrono::milliseconds lease) noexcept {
    using std::chrono::milliseconds;
    const auto most = std::chrono::duration_cast<milliseconds>(Time::max() - now);
    return lease >= most ? Time::max() : now + lease;
  }
  static Holders::iterator find(Holders& holders, const Claim& claim) {
    return std::find_if(holders.begin(), holders.end(),
                        [&](const Holder& holder) { return holder.token == claim.token; });
  }
  // How long the first of the leases lasts.
  static std::chrono::milliseconds left(const Holders& holders, Time now) {
    const auto first =
        std::min_element(holders.begin(), holders.end(),
                         [](const Holder& a, const Holder& b) { return a.ends < b.ends; });
    return std::chrono::ceil<std::chrono::milliseconds>(first->ends - now);
  }
  // Forgets locks whose owners never released them.
  void sweep(Time now) {
    std::erase_if(locks_, [&](const auto& entry) {
      return std::none_of(entry.second.begin(), entry.second.end(),
                          [&](const Holder& holder) { return holder.ends > now; });
    });
    sweep_at_ = std::max(least_sweep, 2 * locks_.size());
  }
  // By the wall clock, so that fences also grow from one run of a program to the next.
  static std::uint64_t first_fence(const Clock& clock) {
    const auto now = std::chrono::floor<std::chrono::microseconds>(clock.system_now());
    return static_cast<std::uint64_t>(std::max<std::int64_t>(now.time_since_epoch().count(), 0));
  }

  const Clock& clock_;
  SpinLock mutex_;  // guards what follows
  std::map<std::string, Holders, std::less<>> locks_;
  std::uint64_t fence_;  // the last one: one counter for all locks
  std::size_t sweep_at_ = least_sweep;
  std::uint32_t forks_;
};

}  // namespace polycache
