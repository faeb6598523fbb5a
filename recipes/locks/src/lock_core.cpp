#include "polycache/detail/lock_core.h"

#include <pthread.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "hold.h"
#include "keeper.h"
#include "per_process.h"
#include "polycache/author/random_id.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "polycache/observer.h"
#include "polycache/registry.h"
#include "section.h"

namespace polycache::detail {
namespace {

using std::chrono::milliseconds;

// How long to wait for a message at most: one may be lost with the process that received it.
constexpr milliseconds longest_wait{1000};

// Pauses of those who look again and again: short ones first, and not all at the same moment.
class Pauses {
 public:
  void next(milliseconds at_most) {
    std::uniform_int_distribution<std::int64_t> share(pause_.count() / 2, pause_.count());
    const std::chrono::microseconds pause(share(random_));
    std::this_thread::sleep_for(std::min<std::chrono::microseconds>(pause, at_most));
    pause_ = std::min(pause_ * 2, std::chrono::microseconds(50'000));
  }

 private:
  std::chrono::microseconds pause_{1000};
  std::minstd_rand random_{std::random_device{}()};
};

// How much is left, rounded up; at most `most`.
milliseconds left_until(const std::optional<LockCore::SteadyTime>& moment, milliseconds most) {
  if (!moment) return most;
  const auto now = std::chrono::steady_clock::now();
  if (*moment <= now) return milliseconds::zero();
  return std::min(most, std::chrono::ceil<milliseconds>(*moment - now));
}

// A thread that is cancelled inside a function that throws nothing would end the process.
class NoCancellation {
 public:
  NoCancellation() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  NoCancellation(const NoCancellation&) = delete;
  NoCancellation& operator=(const NoCancellation&) = delete;
  ~NoCancellation() { pthread_setcancelstate(before_, nullptr); }

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

// Null if there is none whose configuration counts.
const CacheRegistry* registry_of(const LockOptions& options, const Cache* cache) {
  if (options.registry != nullptr || cache != nullptr) return options.registry;
  return &global_registry();
}

// While a hold that has ended is released.
class Forgetting {
 public:
  explicit Forgetting(const Hold& hold) noexcept : hold_(hold) { forget(hold); }
  Forgetting(const Forgetting&) = delete;
  Forgetting& operator=(const Forgetting&) = delete;
  ~Forgetting() {
    const NoCancellation no_cancellation;
    settle(hold_);
  }

 private:
  const Hold& hold_;
};

}  // namespace

struct LockCore::InProcess : Inherited {
  std::mutex mutex;                          // guards what follows
  std::vector<std::shared_ptr<Hold>> holds;  // the newest last
  std::weak_ptr<CacheState> checked;         // whose store keeps locks
};

LockCore::LockCore(Cache* cache, std::string_view what, KeyView name, std::uint32_t permits,
                   const LockOptions& options)
    : what_(what),
      is_semaphore_(what == "semaphore"),
      name_(name.text()),
      stored_as_((is_semaphore_ ? "s." : "l.") + name_),
      permits_(permits),
      settings_(lock_settings(options, registry_of(options, cache), name_)),
      cache_(cache != nullptr ? CacheHandle(*cache)
                              : CacheHandle(settings_.cache, options.registry)),
      here_(nullptr) {
  if (name_.empty()) throw ValueError(what_ + ": the name is empty; give it one");
  if (settings_.lease <= milliseconds::zero()) {
    throw ValueError(what_ + ' ' + quote(name_) + ": a lease of " +
                     std::to_string(settings_.lease.count()) +
                     " ms; give a longer time, such as 30 s");
  }
  try {
    check_store(this->cache());
  } catch (...) {
    delete here_.load(std::memory_order_relaxed);  // no destructor runs, and no thread knows it
    throw;
  }
}

LockCore::~LockCore() {
  InProcess* const known = here_.load(std::memory_order_acquire);
  if (known == nullptr) return;
  if (known->forks != fork_count()) {
    abandon(known);
    return;
  }
  for (const std::shared_ptr<Hold>& hold : std::exchange(known->holds, {})) unlock(*hold);
  delete known;
}

LockCore::InProcess& LockCore::here() const { return of_this_process(here_); }

void LockCore::throw_misuse(const std::string& problem) const {
  throw CacheError(what_ + ' ' + quote(name_) + ": " + problem);
}

// --- Whether the store can ---

// Once for each store that the alias has.
void LockCore::refuse_if_evicting(const Cache& cache, LockExtension& locks) {
  InProcess& here = this->here();
  const std::shared_ptr<CacheState> state = cache.state();
  {
    const std::lock_guard lock(here.mutex);
    const bool is_checked = !here.checked.owner_before(state) && !state.owner_before(here.checked);
    if (is_checked) return;
  }
  const bool may_evict = locks.keeping() == LockExtension::Keeping::may_evict;
  if (may_evict && settings_.evicting_store == EvictingStore::refuse) {
    throw ConfigError(
        what_ + ' ' + quote(name_) +
        ": the store may evict it, and two would own it; use locmem, sqlite, or a "
        "redis whose maxmemory-policy is none of allkeys-*, or set "
        "LockOptions::evicting_store, or \"evicting_store\" of the section \"locks\", to "
        "accept");
  }
  const std::lock_guard lock(here.mutex);
  here.checked = state;
}

// A store that fails now is asked again by the first take().
void LockCore::check_store(Cache& cache) {
  try {
    cache.with_extension<LockExtension>(Op::check_locks, stored_as_, lack_of_locks,
                                        [&](LockExtension& locks, std::string_view) {
                                          refuse_if_evicting(cache, locks);
                                          return true;
                                        });
  } catch (const BackendError& error) {
    if (error.kind() == BackendError::Kind::unsupported) throw;
  }
}

// --- Taking ---

// Null if the place is taken by others: then for `wait` at most, where that is known.
std::shared_ptr<Hold> LockCore::try_take(Cache& cache, milliseconds& wait) {
  const std::string token = random_id();
  const auto asked = cache.clock().steady_now();
  LockExtension::Taken taken;
  cache.with_extension<LockExtension>(
      Op::lock, stored_as_, lack_of_locks, [&](LockExtension& locks, std::string_view key) {
        refuse_if_evicting(cache, locks);
        taken = locks.take({.key = key, .token = token, .permits = permits_}, settings_.lease);
        return taken.taken;
      });
  wait = taken.wait;
  if (!taken.taken) return nullptr;
  return std::make_shared<Hold>(
      Hold::Place{what_, name_, stored_as_, permits_, settings_.lease, settings_.renew}, token,
      taken.fence, cache, asked);
}

// Returns false at once if the store cannot wait.
bool LockCore::wait_for_release(Cache& cache, milliseconds limit) const {
  bool can = true;
  cache.with_extension<LockExtension>(
      Op::wait_for_lock, stored_as_, lack_of_locks,
      [&](LockExtension& locks, std::string_view key) { return can = locks.wait(key, limit); });
  return can;
}

// A lock that this thread has lost, and never released, ends for good: a renewal that is still
// under way would give it another lease, and the thread would wait for itself.
void LockCore::make_way() {
  const std::shared_ptr<Hold> before = is_semaphore_ ? nullptr : mine();
  if (!before) return;
  if (before->is_alive()) {
    throw_misuse(
        "this thread has it already, and would wait for itself; release it first, or use a "
        "RecursiveLock");
  }
  const bool is_news = before->lose();
  unlock(Whose::mine);
  if (is_news)
    warn_of_loss(Cache(before->state()), *before, "its lease ended before it was released");
}

bool LockCore::take(std::optional<SteadyTime> until) {
  make_way();
  Cache& cache = this->cache();
  Pauses pauses;
  for (;;) {
    milliseconds wait{};
    if (const std::shared_ptr<Hold> hold = try_take(cache, wait)) {
      // A store that answered after the end of the lease may have given it to another by now.
      if (hold->now() >= hold->end()) {
        release_in_store(cache, *hold);
      } else {
        keep(hold);
        return true;
      }
    }
    const milliseconds left = left_until(until, longest_wait);
    if (left == milliseconds::zero()) return false;
    const milliseconds limit = wait == milliseconds::zero() ? left : std::min(left, wait);
    if (!wait_for_release(cache, limit)) pauses.next(left);
  }
}

void LockCore::keep(const std::shared_ptr<Hold>& hold) {
  try {
    keep_alive(hold);
    InProcess& here = this->here();
    const std::lock_guard lock(here.mutex);
    here.holds.push_back(hold);
  } catch (...) {  // no memory, or no thread
    unlock(*hold);
    throw;
  }
}

bool LockCore::adopt(std::string_view token) {
  make_way();
  Cache& cache = this->cache();
  const auto asked = cache.clock().steady_now();
  const auto hold = std::make_shared<Hold>(
      Hold::Place{what_, name_, stored_as_, permits_, settings_.lease, settings_.renew},
      std::string(token), 0, cache, asked);
  if (!renew_in_store(cache, *hold) || hold->now() >= hold->end()) return false;
  keep(hold);
  return true;
}

// --- Releasing ---

std::shared_ptr<Hold> LockCore::mine() const {
  InProcess& here = this->here();
  const std::lock_guard lock(here.mutex);
  const auto found = std::find_if(here.holds.rbegin(), here.holds.rend(), [](const auto& hold) {
    return hold->thread() == std::this_thread::get_id();
  });
  return found == here.holds.rend() ? nullptr : *found;
}

std::shared_ptr<Hold> LockCore::remove(Whose whose) {
  InProcess& here = this->here();
  const std::lock_guard lock(here.mutex);
  auto found = std::find_if(here.holds.rbegin(), here.holds.rend(), [](const auto& hold) {
    return hold->thread() == std::this_thread::get_id();
  });
  if (found == here.holds.rend() && whose == Whose::anyones) found = here.holds.rbegin();
  if (found == here.holds.rend()) return nullptr;
  std::shared_ptr<Hold> hold = std::move(*found);
  here.holds.erase(std::next(found).base());
  return hold;
}

// The alias may have another store by now, or be gone, as at the end of a thread or of the program.
bool LockCore::release_where_taken(const Hold& hold) const {
  try {
    Cache& cache = this->cache();
    if (cache.state() == hold.state()) return release_in_store(cache, hold);
  } catch (const BackendError&) {
    throw;
  } catch (const CacheError&) {  // the hold's own state serves
  }
  Cache own(hold.state());
  return release_in_store(own, hold);
}

bool LockCore::release(Whose whose) {
  const std::shared_ptr<Hold> hold = remove(whose);
  if (!hold) {
    throw_misuse(whose == Whose::mine
                     ? "this thread does not have it; release it once, on the thread that took it"
                     : "nothing of it is acquired; release as often as you acquire");
  }
  const bool was_held = hold->is_alive();
  hold->finish();
  const Forgetting forgetting(*hold);
  try {
    const bool is_ours = release_where_taken(*hold) && was_held;
    if (!is_ours) hold->request_stop();
    return is_ours;
  } catch (...) {
    hold->request_stop();
    throw;
  }
}

void LockCore::unlock(Whose whose) noexcept {
  const NoCancellation no_cancellation;
  try {
    if (const std::shared_ptr<Hold> hold = remove(whose)) unlock(*hold);
  } catch (...) {  // no memory, in a child of fork(): then there is nothing to release
  }
}

void LockCore::unlock(Hold& hold) const noexcept {
  const NoCancellation no_cancellation;
  const bool was_lost = hold.finish() != Hold::State::held;
  const Forgetting forgetting(hold);
  std::string why = "its lease ended before it was released";
  try {
    if (release_where_taken(hold)) return;
  } catch (const std::exception& error) {
    try {
      why = std::string("it could not be released: ") + error.what();
    } catch (const std::bad_alloc&) {  // the shorter reason stays
    }
  } catch (...) {  // a warning handler may throw anything
  }
  hold.request_stop();
  if (was_lost) return;  // the warning has been given
  try {
    warn_of_loss(Cache(hold.state()), hold, why);
  } catch (const std::exception&) {  // no memory
  }
}

std::string LockCore::detach() {
  const std::shared_ptr<Hold> hold = remove(Whose::mine);
  if (!hold) throw_misuse("this thread does not have it, and cannot pass it on");
  hold->finish();
  const Forgetting forgetting(*hold);
  return hold->token();
}

// --- Of a thread ---

std::shared_ptr<Hold> LockCore::must_have(std::string_view what) const {
  if (auto hold = mine()) return hold;
  throw_misuse(std::string(what) + ": this thread does not have it; take it first");
}

bool LockCore::is_held() const {
  const auto hold = mine();
  return hold != nullptr && hold->is_alive();
}

std::stop_token LockCore::stop_token() const { return must_have("stop_token()")->stop_token(); }

std::uint64_t LockCore::fence() const { return must_have("fence()")->fence(); }

std::string LockCore::token() const { return must_have("token()")->token(); }

}  // namespace polycache::detail
