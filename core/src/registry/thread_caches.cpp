#include "registry/thread_caches.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>

#include "base/cold_mutex.h"
#include "base/no_destructor.h"
#include "front/cache_state.h"
#include "polycache/error.h"

namespace polycache {
namespace {

// The registries that have not ended. Guarded by cold_mutex().
std::set<std::uint64_t>& living_registries() {
  static NoDestructor<std::set<std::uint64_t>> registries;
  return *registries;
}

// How many registries have ended. Increased after one was removed from the living.
constinit std::atomic<std::uint64_t> ends{0};

[[noreturn]] void throw_ended(const std::string& alias) {
  throw CacheError(alias +
                   ": the store of this cache is gone: its registry was destroyed, or a newer "
                   "configuration lacks its alias; take the cache from a registry that has it");
}

// The store of caches whose registry has ended.
class NoStore final : public BackendFactory {
 public:
  explicit NoStore(std::string alias) : alias_(std::move(alias)) {}
  std::unique_ptr<Backend> connect() override { throw_ended(alias_); }

 private:
  const std::string alias_;
};

std::shared_ptr<CacheState> make_ended_state(const std::string& alias, int version) {
  KeyFunction no_key = [alias](std::string&, std::string_view, std::string_view, int) {
    throw_ended(alias);
  };
  CacheInfo info;
  info.alias = alias;
  info.version = version;
  auto shared = std::make_shared<AliasShared>(AliasShared::Parts{
      .info = std::move(info),
      .environment = std::make_shared<const Environment>(Environment{.on_warning = {}}),
      .factory = std::make_shared<NoStore>(alias),
      .store_record = std::make_shared<StoreRecord>(Clock::real(), StoreTraits()),
  });
  return std::make_shared<CacheState>(
      std::move(shared), KeySpace{.keys = KeyPolicy("", version, std::move(no_key), false),
                                  .timeout = never,
                                  .on_error = {},
                                  .clear = ClearScope::store,
                                  .key_warnings = false});
}

}  // namespace

constinit thread_local ThreadCaches* ThreadCaches::current_ = nullptr;

// Destroys a thread's caches when the thread ends. Separate from the pointer above, which needs no
// initialisation and so can be read before and after this object's lifetime.
struct ThreadCachesOwner {
  ThreadCachesOwner() : caches(new ThreadCaches) { ThreadCaches::current_ = caches; }
  ThreadCachesOwner(const ThreadCachesOwner&) = delete;
  ThreadCachesOwner& operator=(const ThreadCachesOwner&) = delete;
  ~ThreadCachesOwner() {
    // While sessions close, code that they run finds no caches rather than half-destroyed ones.
    ThreadCaches::current_ = nullptr;
    ended = true;
    delete caches;
  }

  ThreadCaches* caches;
  static constinit thread_local bool ended;
};

constinit thread_local bool ThreadCachesOwner::ended = false;

ThreadCaches& ThreadCaches::of_this_thread() {
  if (ThreadCachesOwner::ended) {
    throw CacheError("this thread is ending: its caches are gone; use registry.open()");
  }
  thread_local const ThreadCachesOwner owner;
  return *owner.caches;
}

void ThreadCaches::registry_begins(std::uint64_t registry) {
  const std::lock_guard lock(cold_mutex());
  living_registries().insert(registry);
}

void ThreadCaches::registry_ends(std::uint64_t registry) noexcept {
  const std::lock_guard lock(cold_mutex());
  living_registries().erase(registry);
  ends.fetch_add(1, std::memory_order_release);
}

ThreadCaches::Slot* ThreadCaches::find_older(std::uint64_t registry,
                                             std::uint64_t generation) noexcept {
  const auto older = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& slot) {
    return slot.registry == registry && slot.generation != generation && slot.generation != 0 &&
           !slot.cache->busy();
  });
  return older == slots_.end() ? nullptr : &*older;
}

void ThreadCaches::end(Slot& slot) {
  std::shared_ptr<CacheState> ended = ended_state(*slot.cache);
  slot.generation = 0;
  slot.cache->end(std::move(ended));
}

void ThreadCaches::release_ended() noexcept {
  const std::uint64_t now = ends.load(std::memory_order_acquire);
  if (seen_ends_ == now) return;
  try {
    while (Slot* const slot = find_ended()) retire(*slot);
  } catch (...) {  // out of memory: retried at the next call
    return;
  }
  const bool all_idle = std::none_of(slots_.begin(), slots_.end(),
                                     [](const Slot& slot) { return slot.cache->busy(); });
  if (all_idle) seen_ends_ = now;
}

// An idle cache of a registry that has ended, or null.
ThreadCaches::Slot* ThreadCaches::find_ended() noexcept {
  const std::lock_guard lock(cold_mutex());
  const std::set<std::uint64_t>& living = living_registries();
  const auto ended = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& slot) {
    return !living.contains(slot.registry) && !slot.cache->busy();
  });
  return ended == slots_.end() ? nullptr : &*ended;
}

void ThreadCaches::retire(Slot& slot) {
  std::shared_ptr<CacheState> ended = ended_state(*slot.cache);
  retired_.push_back(nullptr);
  retired_.back() = std::move(slot.cache);
  Cache& cache = *retired_.back();
  slots_.erase(slots_.begin() + (&slot - slots_.data()));
  cache.end(std::move(ended));
}

const std::shared_ptr<CacheState>& ThreadCaches::ended_state(const Cache& cache) {
  std::shared_ptr<CacheState>& state = ended_states_[{cache.alias(), cache.version()}];
  if (!state) state = make_ended_state(cache.alias(), cache.version());
  return state;
}

void ThreadCaches::close(std::uint64_t registry) noexcept {
  // NOLINTNEXTLINE(modernize-loop-convert): closing may add slots
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].registry == registry) slots_[i].cache->close();
  }
}

std::vector<std::string> ThreadCaches::aliases(std::uint64_t registry) const {
  std::vector<std::string> names;
  for (const Slot& slot : slots_) {
    if (slot.registry == registry && slot.generation != 0) names.push_back(slot.alias);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace polycache
