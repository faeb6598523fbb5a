// Locks over every stock store that has them: threads, processes that die or are stopped, and what
// frees a lock that is held.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "polycache/locks.h"
#include "polycache/polycache.h"
#include "support/message_of.h"
#include "support/process_stores.h"

#ifdef __SANITIZE_THREAD__
// Children of a process with threads start threads of their own here, at which ThreadSanitizer
// would end them.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() {
  return "die_after_fork=0";
}
#endif

namespace polycache::testing {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

bool becomes_true(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

class LockStores : public StoresTest {
 protected:
  LockStores() : StoresTest("locks") {}

  Environment environment() {
    Environment all = environment_of_all_stores();
    all.on_warning = [this](const Warning& warning) {
      if (warning.kind == Warning::Kind::lock_lost) ++lost_;
    };
    return all;
  }
  LockOptions options(CacheRegistry& registry, std::chrono::milliseconds lease = 30s) const {
    return {.lease = lease,
            .evicting_store = evicts() ? EvictingStore::accept : EvictingStore::refuse,
            .registry = &registry};
  }
  bool evicts() const { return is("memcached"); }
  // clear() keeps locks.
  bool keeps_when_cleared() const { return is("locmem") || is("sqlite"); }

  // Runs f() in a child process, which ends with whether it is true.
  template <class F>
  static pid_t start_child(F f) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    bool good = false;
    try {
      good = f();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", error.what());
    }
    ::_exit(good ? 0 : 1);
  }
  static int end_of(pid_t child) {
    int status = 0;
    return ::waitpid(child, &status, 0) == child ? status : -1;
  }

  std::atomic<int> lost_{0};
};

TEST_P(LockStores, ThreadsTakeTurns) {
  CacheRegistry registry(config(), environment());
  Lock lock(name(), options(registry));
  const int threads = is("locmem") ? 32 : 8;
  constexpr int turns = 15;
  std::int64_t count = 0;  // guarded by the lock, as what follows
  std::uint64_t last = 0;
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&] {
      for (int turn = 0; turn < turns; ++turn) {
        const std::unique_lock guard(lock);
        ++count;
        EXPECT_TRUE(lock.fence() > last || is("memcached")) << lock.fence() << " after " << last;
        last = lock.fence();
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  EXPECT_EQ(count, threads * turns);
  EXPECT_EQ(lost_, 0);
}

TEST_P(LockStores, ASemaphoreCountsAcrossRegistries) {
  CacheRegistry one(config(), environment());
  CacheRegistry other(config(), environment());
  Semaphore mine(name(), 2, options(one));
  Semaphore theirs(name(), 2, options(other));
  EXPECT_TRUE(mine.try_acquire());
  EXPECT_TRUE(theirs.try_acquire());
  EXPECT_FALSE(mine.try_acquire());
  EXPECT_FALSE(theirs.try_acquire_for(5ms));
  EXPECT_TRUE(theirs.release());
  EXPECT_TRUE(mine.try_acquire());
  EXPECT_TRUE(mine.release());
  EXPECT_TRUE(mine.release());
}

TEST_P(LockStores, ALockThatIsRenewedOutlivesItsLease) {
  CacheRegistry registry(config(), environment());
  Lock lock(name(), options(registry, 2s));
  lock.lock();
  std::thread other([&] {
    const auto end = std::chrono::steady_clock::now() + 4s;
    while (std::chrono::steady_clock::now() < end) {
      EXPECT_FALSE(lock.try_lock());
      std::this_thread::sleep_for(50ms);
    }
  });
  other.join();
  EXPECT_TRUE(lock.is_held());
  EXPECT_TRUE(lock.release());
  EXPECT_EQ(lost_, 0);
}

TEST_P(LockStores, OnlySomeStoresFreeLocksWhenTheyAreCleared) {
  CacheRegistry registry(config(), environment());
  Lock lock(name(), options(registry));
  lock.lock();
  registry["default"].set("k", "v");
  registry["default"].clear();
  Lock same(name(), options(registry));
  EXPECT_EQ(same.try_lock(), !keeps_when_cleared());
  EXPECT_EQ(lock.release(), keeps_when_cleared());
}

// Of stores that have limits of their own.
using LockStoresWithLimits = LockStores;
TEST_P(LockStoresWithLimits, LocksAreNotEvictedWithEntries) {
  CacheRegistry registry(config({{"max_entries", std::int64_t{16}}}), environment());
  std::vector<std::unique_ptr<Lock>> locks;
  for (int i = 0; i < 40; ++i) {
    locks.push_back(std::make_unique<Lock>(name() + std::to_string(i), options(registry)));
    locks.back()->lock();
  }
  for (int i = 0; i < 200; ++i) registry["default"].set("k" + std::to_string(i), "v");
  EXPECT_TRUE(registry["default"].contains("k199"));
  for (const auto& lock : locks) EXPECT_TRUE(lock->release());
}

using EvictingLockStores = LockStores;
TEST_P(EvictingLockStores, AStoreThatEvictsIsRefusedUnlessItIsAccepted) {
  CacheRegistry registry(config(), environment());
  const std::string message = message_of<ConfigError>([&] { Lock("l", {.registry = &registry}); });
  EXPECT_THAT(message, HasSubstr("may evict"));
  EXPECT_THAT(message, HasSubstr("evicting_store"));
}

TEST_P(EvictingLockStores, TheConfigurationMayAcceptAStoreThatEvicts) {
  Config accepting = config();
  accepting.sections["locks"] = {.json = R"({"mine": {"evicting_store": "accept"}})"};
  CacheRegistry registry(accepting, environment());
  EXPECT_TRUE(Lock("mine", {.registry = &registry}).try_lock());
  EXPECT_THROW(Lock("other", {.registry = &registry}), ConfigError);
}

// Of stores that processes share.
using SharedLockStores = LockStores;

// Fault 61.
TEST_P(SharedLockStores, ALockOfAProcessThatDiesIsFreeAfterItsLease) {
  GetParam().location();  // its server is this process's
  const Shared<std::atomic<bool>> has_it;
  const std::string name = this->name();
  const pid_t child = start_child([&] {
    CacheRegistry registry(config(), environment());
    Lock lock(name, options(registry, 2s));
    lock.lock();
    has_it->store(true);
    std::this_thread::sleep_for(10min);
    return false;
  });
  ASSERT_TRUE(becomes_true([&] { return has_it->load(); }));
  CacheRegistry registry(config(), environment());
  Lock lock(name, options(registry, 2s));
  EXPECT_FALSE(lock.try_lock_for(3s)) << "it lives, and renews";
  ::kill(child, SIGKILL);
  end_of(child);
  EXPECT_TRUE(lock.try_lock_for(60s));
  EXPECT_TRUE(lock.release());
}

// Fault 62.
TEST_P(SharedLockStores, AnOwnerThatWasStoppedForTooLongIsTold) {
  GetParam().location();
  struct Facts {
    std::atomic<bool> has_it{false};
    std::atomic<std::uint64_t> fence{0};
  };
  const Shared<Facts> facts;
  const std::string name = this->name();
  const pid_t child = start_child([&] {
    CacheRegistry registry(config(), environment());
    Lock lock(name, options(registry, 2s));
    lock.lock();
    const std::stop_token stop = lock.stop_token();
    facts->fence = lock.fence();
    facts->has_it = true;
    const bool told = becomes_true([&] { return stop.stop_requested(); });
    return told && !lock.is_held() && !lock.release() && lost_ == 1;
  });
  ASSERT_TRUE(becomes_true([&] { return facts->has_it.load(); }));
  ASSERT_EQ(::kill(child, SIGSTOP), 0);
  CacheRegistry registry(config(), environment());
  Lock lock(name, options(registry));
  EXPECT_TRUE(lock.try_lock_for(60s));
  EXPECT_TRUE(lock.fence() > facts->fence || is("memcached"));
  ASSERT_EQ(::kill(child, SIGCONT), 0);
  EXPECT_EQ(end_of(child), 0);
  EXPECT_TRUE(lock.release()) << "what the other one did has not released it";
}

TEST_P(SharedLockStores, AChildOfForkHoldsNothing) {
  CacheRegistry registry(config(), environment());
  Lock lock(name(), options(registry));
  lock.lock();
  const pid_t child = start_child([&] {
    const bool holds = lock.is_held();
    lock.unlock();  // does nothing
    return !holds && !lock.try_lock();
  });
  EXPECT_EQ(end_of(child), 0);
  EXPECT_TRUE(lock.release());
}

INSTANTIATE_TEST_SUITE_P(Stores, LockStores,
                         ::testing::Values(locmem_store, sqlite_store, redis_store,
                                           memcached_store),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Stores, LockStoresWithLimits,
                         ::testing::Values(locmem_store, sqlite_store), name_of);
INSTANTIATE_TEST_SUITE_P(Stores, EvictingLockStores, ::testing::Values(memcached_store), name_of);
INSTANTIATE_TEST_SUITE_P(Stores, SharedLockStores,
                         ::testing::Values(sqlite_store, redis_store, memcached_store), name_of);

TEST(LockServers, RedisWithAnEvictingPolicyIsRefusedUnlessItIsAccepted) {
  const auto server = Server::redis({"--maxmemory-policy", "allkeys-lfu"});
  CacheRegistry registry(
      {.caches = {{"default", {.backend = "redis", .location = {server->address()}}}}},
      environment_of_all_stores());
  EXPECT_THROW(Lock("l", {.registry = &registry}), ConfigError);
  Lock lock("l", {.evicting_store = EvictingStore::accept, .registry = &registry});
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.release());
}

// Fault 63.
TEST(LockServers, LocksFailClosedWhenTheirServerIsDown) {
  const auto server = Server::redis();
  CacheRegistry registry(
      {.caches = {{"default", {.backend = "redis", .location = {server->address()}}}}},
      environment_of_all_stores());
  Lock lock("l", {.registry = &registry});
  Lock other("m", {.registry = &registry});
  lock.lock();
  const std::stop_token stop = lock.stop_token();
  server->kill9();
  EXPECT_THROW(other.try_lock(), BackendError);
  EXPECT_THROW(other.lock(), BackendError);
  EXPECT_FALSE(stop.stop_requested()) << "its lease has not ended";
  lock.unlock();
  EXPECT_TRUE(stop.stop_requested());
}

}  // namespace
}  // namespace polycache::testing
