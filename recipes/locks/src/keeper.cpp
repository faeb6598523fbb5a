#include "keeper.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "per_process.h"
#include "polycache/author/signals_blocked.h"
#include "polycache/error.h"

namespace polycache::detail {
namespace {

using namespace std::chrono_literals;
using Time = Hold::Time;
using HoldPointer = std::shared_ptr<Hold>;

// The clock is looked at this often while something is held: it may jump, as after the machine has
// slept, which no wait notices.
constexpr Time::duration longest_sleep = 100ms;
// So often in vain before the thread sleeps until it is woken: those who lock again and again need
// not wake it each time.
constexpr int idle_rounds = 10;
// How long the end of the process waits for a renewal.
constexpr std::chrono::seconds patience{1};
// How long one who releases a lock waits for another store, which may hang.
constexpr std::chrono::seconds longest_settling{10};

// A handler that runs on a thread of the keeper may release locks.
constinit thread_local bool is_keepers_thread = false;

// When to renew: after a third of the lease.
Time third(const Hold& hold, Time begin) noexcept {
  constexpr std::chrono::milliseconds most = std::chrono::hours(24 * 365);  // no overflow
  const Time::duration lease = std::min(hold.place().lease, 3 * most);
  return begin + lease / 3;
}

// When to try again after a failure: soon, but no more than ten times in a lease.
Time soon(const Hold& hold) noexcept {
  return hold.now() + std::clamp<std::chrono::milliseconds>(hold.place().lease / 10, 1ms, 1s);
}

// Never destroyed: the threads outlive static objects if a store hangs at the end.
class Keeper : public Inherited {
 public:
  void add(const HoldPointer& hold);
  void remove(const Hold& hold) noexcept;
  void settle(const Hold& hold) noexcept;
  void end() noexcept;

 private:
  using Caches = std::map<CacheState*, std::unique_ptr<Cache>>;
  struct Task {
    HoldPointer hold;
    std::string loss;  // why it was lost; empty: renew it
  };

  void start_threads();
  void start(void (Keeper::*work)());
  void leave() noexcept;
  void watch();
  Time::duration look();
  bool needs(const CacheState* state) const noexcept;
  bool uses(const Hold& hold) const noexcept;
  void renew_all();
  void carry_out(const Task& task, std::unique_ptr<Cache>& cache);
  void renew(Cache& cache, const HoldPointer& hold);
  void drop_idle();

  std::mutex mutex_;  // guards what follows
  std::condition_variable watched_;
  std::condition_variable due_;
  std::condition_variable left_;
  std::condition_variable settled_;
  std::vector<HoldPointer> holds_;
  std::vector<HoldPointer> losing_;  // their stop tokens are being fired
  std::deque<Task> tasks_;
  const Hold* at_work_ = nullptr;  // of the renewing thread's task
  Caches caches_;                  // the renewing thread alone uses, and destroys, what is in it
  bool caches_may_go_ = false;     // nothing is held that needs one of them
  bool drops_caches_ = false;
  bool has_started_ = false;
  bool is_ending_ = false;
  bool sleeps_ = false;  // the watching thread waits to be woken
  std::chrono::steady_clock::time_point wakes_at_{};
  int threads_ = 0;
};

constinit std::atomic<Keeper*> keeper{nullptr};

void end_keeper_at_exit() {
  Keeper* const known = keeper.load(std::memory_order_acquire);
  if (known != nullptr && known->forks == fork_count()) known->end();
}

void Keeper::add(const HoldPointer& hold) {
  const std::lock_guard lock(mutex_);
  if (is_ending_) return;
  start_threads();
  const Time now = hold->now();
  hold->renew_at = hold->place().renews ? third(*hold, now) : Time::max();
  holds_.push_back(hold);
  const auto rest = std::min<Time::duration>(std::min(hold->renew_at, hold->end()) - now, 1h);
  const auto next = std::chrono::steady_clock::now() + rest;
  if (sleeps_ || next < wakes_at_) watched_.notify_one();
  sleeps_ = false;
}

void Keeper::remove(const Hold& hold) noexcept {
  HoldPointer removed;  // destroyed when the mutex is free
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(holds_.begin(), holds_.end(),
                                  [&](const HoldPointer& held) { return held.get() == &hold; });
  if (found == holds_.end()) return;
  removed = std::move(*found);
  *found = std::move(holds_.back());
  holds_.pop_back();
  CacheState* const state = hold.state().get();
  if (!caches_.contains(state) || needs(state)) return;
  caches_may_go_ = true;
  due_.notify_one();
}

// REQUIRES: the mutex is held
bool Keeper::needs(const CacheState* state) const noexcept {
  return std::any_of(holds_.begin(), holds_.end(),
                     [&](const HoldPointer& held) { return held->state().get() == state; });
}

// Whether the threads use something of a hold that was forgotten. REQUIRES: the mutex is held
bool Keeper::uses(const Hold& hold) const noexcept {
  const auto is_it = [&](const HoldPointer& other) { return other.get() == &hold; };
  CacheState* const state = hold.state().get();
  return at_work_ == &hold || drops_caches_ || (caches_.contains(state) && !needs(state)) ||
         std::any_of(losing_.begin(), losing_.end(), is_it) ||
         std::any_of(tasks_.begin(), tasks_.end(),
                     [&](const Task& task) { return is_it(task.hold); });
}

void Keeper::settle(const Hold& hold) noexcept {
  if (is_keepers_thread) return;
  std::unique_lock lock(mutex_);
  settled_.wait_for(lock, longest_settling, [&] { return is_ending_ || !uses(hold); });
}

// REQUIRES: the mutex is held
void Keeper::start_threads() {
  if (has_started_) return;
  static std::once_flag registered;
  std::call_once(registered, [] { std::atexit(end_keeper_at_exit); });
  const SignalsBlocked blocked;
  // If the second one cannot be started, the next hold tries again: the first one does no harm.
  if (threads_ == 0) start(&Keeper::watch);
  start(&Keeper::renew_all);
  has_started_ = true;
}

void Keeper::start(void (Keeper::*work)()) {
  std::thread([this, work] {
    pthread_setname_np(pthread_self(), "polycache-locks");
    is_keepers_thread = true;
    (this->*work)();
    if (forks == fork_count()) leave();  // a warning handler or a callback may fork
  }).detach();
  ++threads_;
}

void Keeper::leave() noexcept {
  const std::lock_guard lock(mutex_);
  --threads_;
  left_.notify_all();
}

void Keeper::end() noexcept {
  std::unique_lock lock(mutex_);
  is_ending_ = true;
  watched_.notify_all();
  due_.notify_all();
  settled_.notify_all();
  left_.wait_for(lock, patience, [this] { return threads_ == 0; });
}

// Returns how long nothing is due. REQUIRES: the mutex is held
Time::duration Keeper::look() {
  Time::duration rest = longest_sleep;
  std::erase_if(holds_, [&](const HoldPointer& hold) {
    const Time now = hold->now();
    if (now >= hold->end()) {
      if (hold->mark_lost()) losing_.push_back(hold);
      return true;
    }
    rest = std::min(rest, hold->end() - now);
    if (hold->is_being_renewed || hold->renew_at == Time::max()) return false;
    if (now < hold->renew_at) {
      rest = std::min(rest, hold->renew_at - now);
      return false;
    }
    hold->is_being_renewed = true;
    tasks_.push_back({hold, {}});
    due_.notify_one();
    return false;
  });
  return rest;
}

void Keeper::watch() {
  int idle = 0;
  std::unique_lock lock(mutex_);
  while (!is_ending_) {
    const Time::duration rest = look();
    if (!losing_.empty()) {
      lock.unlock();
      for (const HoldPointer& hold : losing_) hold->request_stop();  // only this thread changes it
      if (forks != fork_count()) return;
      lock.lock();
      for (HoldPointer& hold : losing_) {
        tasks_.push_back({std::move(hold), "its lease ended before it was renewed or released"});
        due_.notify_one();
      }
      losing_.clear();
      continue;
    }
    idle = holds_.empty() ? idle + 1 : 0;
    if (idle > idle_rounds) {
      // The hold it was woken for may have ended by now; then it must be woken for the next one.
      while (!is_ending_ && holds_.empty()) {
        sleeps_ = true;
        watched_.wait(lock);
      }
      sleeps_ = false;
      idle = 0;
      continue;
    }
    wakes_at_ = std::chrono::steady_clock::now() + rest;
    watched_.wait_until(lock, wakes_at_);
  }
}

void Keeper::renew_all() {
  std::unique_lock lock(mutex_);
  for (;;) {
    due_.wait(lock, [this] { return is_ending_ || caches_may_go_ || !tasks_.empty(); });
    if (is_ending_) break;
    if (tasks_.empty()) {
      drop_idle();
      continue;
    }
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    at_work_ = task.hold.get();
    try {
      std::unique_ptr<Cache>& cache = caches_[task.hold->state().get()];
      lock.unlock();
      carry_out(task, cache);
    } catch (...) {  // no memory: it is not renewed any more, and its lease ends
    }
    if (lock.owns_lock()) lock.unlock();
    const CacheState* const state = task.hold->state().get();
    task = {};  // may be the last one that has the hold, and with it the state
    if (forks != fork_count()) return;
    lock.lock();
    at_work_ = nullptr;
    caches_may_go_ = caches_may_go_ || !needs(state);
    settled_.notify_all();
  }
  Caches caches = std::move(caches_);
  lock.unlock();
}

// The cache is made with the first task for its store.
void Keeper::carry_out(const Task& task, std::unique_ptr<Cache>& cache) {
  if (!cache) cache = std::make_unique<Cache>(task.hold->state());
  if (!task.loss.empty()) {
    warn_of_loss(*cache, *task.hold, task.loss);
  } else if (task.hold->status() == Hold::State::held) {
    renew(*cache, task.hold);
  }
}

// Caches that nothing held needs would keep sessions open, and stores alive.
// REQUIRES: the mutex is held
void Keeper::drop_idle() {
  caches_may_go_ = false;
  Caches idle;
  for (auto at = caches_.begin(); at != caches_.end();) {
    const auto next = std::next(at);
    if (!needs(at->first)) idle.insert(caches_.extract(at));
    at = next;
  }
  drops_caches_ = true;
  mutex_.unlock();
  idle.clear();
  mutex_.lock();
  drops_caches_ = false;
  settled_.notify_all();
}

void Keeper::renew(Cache& cache, const HoldPointer& hold) {
  const Time asked = hold->now();
  Time next = third(*hold, asked);
  try {
    if (renew_in_store(cache, *hold)) {
      hold->renewed(asked);
    } else if (hold->lose()) {
      warn_of_loss(cache, *hold, "the store has it no more when it was to be renewed");
    }
  } catch (...) {
    // The store failed, or a warning handler threw. The lease may still be long enough.
    next = soon(*hold);
  }
  const std::lock_guard lock(mutex_);
  hold->is_being_renewed = false;
  hold->renew_at = next;
  if (hold->status() != Hold::State::held) std::erase(holds_, hold);
}

}  // namespace

void keep_alive(const std::shared_ptr<Hold>& hold) { of_this_process(keeper).add(hold); }

void forget(const Hold& hold) noexcept {
  Keeper* const known = keeper.load(std::memory_order_acquire);
  if (known != nullptr && known->forks == fork_count()) known->remove(hold);
}

void settle(const Hold& hold) noexcept {
  Keeper* const known = keeper.load(std::memory_order_acquire);
  if (known != nullptr && known->forks == fork_count()) known->settle(hold);
}

}  // namespace polycache::detail
