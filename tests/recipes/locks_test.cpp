// Locks, semaphores and barriers in one process, on the simplest store with a clock that the test
// moves. Stores behind servers and other processes: tests/recipes/lock_stores_test.cpp.

#include "polycache/locks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "polycache/backends/dummy.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "support/message_of.h"

#ifdef __SANITIZE_THREAD__
// A child of a process with threads starts threads of its own here, at which ThreadSanitizer would
// end it.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() {
  return "die_after_fork=0";
}
#endif

namespace polycache::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace std::chrono_literals;

// Waits until another thread has made it true.
bool becomes_true(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + 30s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

template <class F>
auto on_another_thread(F f) {
  decltype(f()) result{};
  std::thread([&] { result = f(); }).join();
  return result;
}

class LocksTest : public ::testing::Test {
 protected:
  class Counting final : public Observer {
   public:
    void begin(const Call&) noexcept override {}
    void end(const Call& call, const CallEnd& end) noexcept override {
      if (call.op == Op::renew_lock && end.result == Result::hit) ++renewals;
      if (call.op == Op::lock) ++takes;
      if (call.op == Op::unlock) ++releases;
    }
    std::atomic<int> renewals{0};
    std::atomic<int> takes{0};
    std::atomic<int> releases{0};
  };

  LocksTest()
      : registry_({.caches = {{"default", {.backend = "memory", .layers = {{.name = "chaos"}}}},
                              {"none", {.backend = "dummy"}}}},
                  {.clock = &clock_,
                   .on_warning =
                       [this](const Warning& warning) {
                         const std::lock_guard lock(mutex_);
                         if (warning.kind == Warning::Kind::lock_lost) {
                           lost_.emplace_back(warning.message);
                         }
                         if (handler_throws_) throw std::runtime_error("a warning");
                       },
                   .observer = counts_,
                   .linked_plugins = {&memory_store, &chaos_layer, &dummy::plugin}}),
        global_(registry_) {}

  std::vector<std::string> lost() {
    const std::lock_guard lock(mutex_);
    return lost_;
  }
  LockOptions with(std::chrono::milliseconds lease, bool renew = true) {
    return {.lease = lease, .renew = renew, .registry = &registry_};
  }

  // As if the store had evicted it, or a failover had lost it.
  bool lose_in_store(const std::string& stored_as, const std::string& token) {
    return registry_["default"].with_extension<LockExtension>(
        Op::unlock, stored_as, "has no locks", [&](LockExtension& locks, std::string_view key) {
          return locks.release({.key = key, .token = token});
        });
  }

  ManualClock clock_;
  std::shared_ptr<Counting> counts_ = std::make_shared<Counting>();
  std::mutex mutex_;  // guards what follows
  std::vector<std::string> lost_;
  bool handler_throws_ = false;
  CacheRegistry registry_;
  ScopedGlobalRegistry global_;
};

TEST_F(LocksTest, ALockFitsTheGuardsOfTheStandardLibrary) {
  Lock lock("report:42", with(30s));
  EXPECT_EQ(lock.name(), "report:42");
  {
    const std::unique_lock guard(lock);
    EXPECT_TRUE(lock.is_held());
    EXPECT_FALSE(on_another_thread([&] { return lock.try_lock(); }));
    EXPECT_FALSE(on_another_thread([&] { return lock.is_held(); }));
  }
  EXPECT_FALSE(lock.is_held());
  {
    std::unique_lock guard(lock, std::try_to_lock);
    EXPECT_TRUE(guard.owns_lock());
    guard.unlock();
    EXPECT_TRUE(guard.try_lock_for(1s));
    guard.unlock();
    EXPECT_TRUE(guard.try_lock_until(std::chrono::system_clock::now() + 1s));
  }
  const std::scoped_lock guard(lock);
  EXPECT_THAT(lost(), IsEmpty());
}

TEST_F(LocksTest, TakingAndReleasingIsOneOperationEach) {
  Lock lock("l", with(30s));
  lock.lock();
  lock.unlock();
  EXPECT_EQ(counts_->takes, 1);
  EXPECT_EQ(counts_->releases, 1);
}

TEST_F(LocksTest, LocksOfOneNameExcludeEachOther) {
  Lock lock("l", with(30s));
  lock.lock();
  Lock same("l", with(30s));
  Lock another("m", with(30s));
  Semaphore semaphore("l", 1, with(30s));
  on_another_thread([&] {
    EXPECT_FALSE(same.try_lock());
    EXPECT_TRUE(another.try_lock());
    EXPECT_TRUE(semaphore.try_acquire()) << "a semaphore of that name is none of its locks";
    another.unlock();
    return semaphore.release();
  });
  EXPECT_FALSE(same.try_lock());
  lock.unlock();
  EXPECT_TRUE(same.try_lock());
  same.unlock();
}

TEST_F(LocksTest, ThreadsTakeTurns) {
  Lock lock("l", with(30s));
  int count = 0;  // guarded by the lock
  std::atomic<int> inside{0};
  std::atomic<int> together{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 20; ++turn) {
        const std::unique_lock guard(lock);
        if (++inside != 1) ++together;
        ++count;
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, 0);
  EXPECT_EQ(count, 8 * 20);
  EXPECT_THAT(lost(), IsEmpty());
}

TEST_F(LocksTest, WaitsNoLongerThanItIsTold) {
  Lock lock("l", with(30s));
  lock.lock();
  on_another_thread([&] {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(lock.try_lock_for(30ms));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 30ms);
    EXPECT_FALSE(lock.try_lock_for(0s));
    EXPECT_FALSE(lock.try_lock_for(-1s));
    EXPECT_FALSE(lock.try_lock_for(std::chrono::duration<double>(0.001)));
    return 0;
  });
  std::thread waiting([&] {
    EXPECT_TRUE(lock.try_lock_for(std::chrono::hours::max()));
    lock.unlock();
  });
  std::this_thread::sleep_for(5ms);
  lock.unlock();
  waiting.join();
}

TEST_F(LocksTest, TheMomentBeforeAllOthersIsOverAndTheLastOneNeverComes) {
  using std::chrono::system_clock;
  Lock lock("l", with(30s));
  RecursiveLock recursive("r", with(30s));
  Semaphore semaphore("s", 1, with(30s));
  lock.lock();
  recursive.lock();
  semaphore.acquire();
  on_another_thread([&] {
    EXPECT_FALSE(lock.try_lock_until(system_clock::time_point::min()));
    EXPECT_FALSE(lock.try_lock_until(std::chrono::steady_clock::time_point::min()));
    EXPECT_FALSE(lock.try_lock_until(std::chrono::sys_seconds::min()));
    EXPECT_FALSE(recursive.try_lock_until(system_clock::time_point::min()));
    EXPECT_FALSE(semaphore.try_acquire_until(system_clock::time_point::min()));
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(lock.try_lock_until(system_clock::now() + 30ms));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 29ms);
    return 0;
  });
  std::thread waiting([&] {
    EXPECT_TRUE(lock.try_lock_until(std::chrono::sys_seconds::max()));
    lock.unlock();
    EXPECT_TRUE(lock.try_lock_until(system_clock::time_point::max()));
    lock.unlock();
  });
  std::this_thread::sleep_for(5ms);
  lock.unlock();
  waiting.join();
  recursive.unlock();
  EXPECT_TRUE(semaphore.release());
}

TEST_F(LocksTest, AThreadThatHasALockDoesNotWaitForItself) {
  Lock lock("l", with(30s));
  lock.lock();
  EXPECT_THAT(message_of<CacheError>([&] { lock.lock(); }), HasSubstr("use a RecursiveLock"));
  EXPECT_THROW(lock.try_lock(), CacheError);
  EXPECT_TRUE(lock.release());
}

TEST_F(LocksTest, OneWhoDoesNotHaveItCannotReleaseIt) {
  Lock lock("l", with(30s));
  EXPECT_THAT(message_of<CacheError>([&] { lock.release(); }), HasSubstr("does not have it"));
  EXPECT_THROW(lock.stop_token(), CacheError);
  EXPECT_THROW(lock.fence(), CacheError);
  EXPECT_THROW(lock.token(), CacheError);
  EXPECT_THROW(lock.detach(), CacheError);
  lock.unlock();  // does nothing
  lock.lock();
  on_another_thread([&] {
    EXPECT_THROW(lock.release(), CacheError);
    lock.unlock();
    return 0;
  });
  EXPECT_TRUE(lock.is_held());
  EXPECT_TRUE(lock.release());
  EXPECT_THROW(lock.release(), CacheError) << "a second time";
}

TEST_F(LocksTest, FencesGrow) {
  Lock lock("l", with(30s));
  std::uint64_t last = 0;
  for (int i = 0; i < 5; ++i) {
    const std::unique_lock guard(lock);
    EXPECT_GT(lock.fence(), last);
    last = lock.fence();
  }
}

// --- Leases ---

TEST_F(LocksTest, ALockThatIsNotRenewedIsLostWithItsLease) {
  Lock lock("l", with(30s, false));
  lock.lock();
  const std::stop_token stop = lock.stop_token();
  const std::uint64_t fence = lock.fence();
  clock_.advance(29s);
  EXPECT_TRUE(lock.is_held());
  clock_.advance(1s);
  EXPECT_FALSE(lock.is_held());
  EXPECT_TRUE(becomes_true([&] { return stop.stop_requested(); }));
  EXPECT_TRUE(becomes_true([&] { return lost().size() == 1; }));
  EXPECT_THAT(lost().front(), HasSubstr("The lock \"l\" was lost: its lease ended"));
  on_another_thread([&] {
    EXPECT_TRUE(lock.try_lock());
    EXPECT_GT(lock.fence(), fence);
    return 0;
  });
  EXPECT_FALSE(lock.release()) << "another one has it";
  EXPECT_FALSE(lock.try_lock()) << "and keeps it";
  EXPECT_EQ(counts_->renewals, 0);
}

TEST_F(LocksTest, TheStopTokenOfALockThatIsReleasedDoesNotFire) {
  Lock lock("l", with(30s));
  lock.lock();
  const std::stop_token stop = lock.stop_token();
  lock.unlock();
  clock_.advance(1h);
  std::this_thread::sleep_for(150ms);  // longer than the clock is not looked at
  EXPECT_FALSE(stop.stop_requested());
  EXPECT_THAT(lost(), IsEmpty());
}

TEST_F(LocksTest, ALeaseIsRenewedAtAThirdOfIt) {
  Lock lock("l", with(30s));
  lock.lock();
  for (int i = 1; i <= 4; ++i) {
    clock_.advance(11s);
    ASSERT_TRUE(becomes_true([&] { return counts_->renewals == i; })) << i;
  }
  EXPECT_TRUE(lock.is_held());
  EXPECT_FALSE(on_another_thread([&] { return lock.try_lock(); }));
  EXPECT_TRUE(lock.release());
  EXPECT_THAT(lost(), IsEmpty());
}

// The thread that renews sleeps by then. The short lock wakes it, and is released before it looks.
TEST_F(LocksTest, ALockAfterAPauseAndAShortLockIsRenewed) {
  Lock lock("l", with(30s));
  for (int i = 1; i <= 2; ++i) {
    std::this_thread::sleep_for(1500ms);
    lock.lock();
    lock.unlock();
    std::this_thread::sleep_for(50ms);
    lock.lock();
    clock_.advance(11s);
    ASSERT_TRUE(becomes_true([&] { return counts_->renewals == i; })) << i;
    EXPECT_TRUE(lock.release());
  }
}

TEST_F(LocksTest, AStoreThatRecoversInTimeLosesNoLock) {
  const auto chaos = Chaos::named("default", clock_);
  Lock lock("l", with(30s));
  lock.lock();
  chaos->set({.fail = 1});
  clock_.advance(11s);
  std::this_thread::sleep_for(150ms);
  EXPECT_EQ(counts_->renewals, 0);
  chaos->off();
  for (int i = 0; i < 4 && counts_->renewals == 0; ++i) {
    clock_.advance(4s);
    std::this_thread::sleep_for(150ms);
  }
  EXPECT_TRUE(becomes_true([&] { return counts_->renewals > 0; }));
  EXPECT_TRUE(lock.release());
}

TEST_F(LocksTest, AStoreThatStaysAwayLosesTheLockWithItsLease) {
  const auto chaos = Chaos::named("default", clock_);
  Lock lock("l", with(30s));
  lock.lock();
  const std::stop_token stop = lock.stop_token();
  std::atomic<bool> called{false};
  const std::stop_callback callback(stop, [&] { called = true; });
  chaos->set({.fail = 1});
  clock_.advance(29s);
  std::this_thread::sleep_for(150ms);
  EXPECT_FALSE(stop.stop_requested());
  clock_.advance(1s);
  EXPECT_TRUE(becomes_true([&] { return called.load(); }));
  EXPECT_THROW(lock.release(), BackendError);
  EXPECT_THROW(lock.release(), CacheError) << "it was given up";
  EXPECT_THROW(lock.lock(), BackendError) << "locks fail closed";
  EXPECT_THROW(lock.try_lock(), BackendError);
}

TEST_F(LocksTest, ALockThatTheStoreHasLostFiresAtTheNextRenewal) {
  Lock lock("l", with(30s));
  lock.lock();
  const std::stop_token stop = lock.stop_token();
  ASSERT_TRUE(lose_in_store("l.l", lock.token()));
  EXPECT_TRUE(lock.is_held()) << "as far as it knows";
  clock_.advance(10s);
  EXPECT_TRUE(becomes_true([&] { return stop.stop_requested(); }));
  EXPECT_TRUE(becomes_true([&] { return lost().size() == 1; }));
  EXPECT_FALSE(lock.is_held());
  EXPECT_FALSE(lock.release());
  EXPECT_TRUE(lock.try_lock()) << "it can be taken again";
  EXPECT_TRUE(lock.release());
}

TEST_F(LocksTest, ReleaseThatFindsItLostFiresTheToken) {
  Lock lock("l", with(30s));
  lock.lock();
  const std::stop_token stop = lock.stop_token();
  ASSERT_TRUE(lose_in_store("l.l", lock.token()));
  EXPECT_FALSE(lock.release());
  EXPECT_TRUE(stop.stop_requested());
  EXPECT_THAT(lost(), IsEmpty()) << "the caller knows";
}

TEST_F(LocksTest, UnlockTellsTheHandlerWhatItCannotThrow) {
  const auto chaos = Chaos::named("default", clock_);
  Lock lock("l", with(30s));
  lock.lock();
  std::stop_token stop = lock.stop_token();
  ASSERT_TRUE(lose_in_store("l.l", lock.token()));
  lock.unlock();
  EXPECT_TRUE(stop.stop_requested());
  ASSERT_EQ(lost().size(), 1U);
  EXPECT_THAT(lost().front(), HasSubstr("ended before it was released"));

  lock.lock();
  stop = lock.stop_token();
  chaos->set({.fail = 1});
  lock.unlock();
  EXPECT_TRUE(stop.stop_requested());
  ASSERT_EQ(lost().size(), 2U);
  EXPECT_THAT(lost().back(), HasSubstr("could not be released"));
  chaos->off();
  clock_.advance(31s);
  EXPECT_TRUE(lock.try_lock()) << "the store ended its lease";

  handler_throws_ = true;
  ASSERT_TRUE(lose_in_store("l.l", lock.token()));
  lock.unlock();
  EXPECT_EQ(lost().size(), 3U);
}

TEST_F(LocksTest, AShortLeaseIsRenewedAtAThirdOfItToo) {
  Lock lock("l", with(2ms));
  lock.lock();
  clock_.advance(std::chrono::microseconds(600));
  std::this_thread::sleep_for(150ms);  // longer than the clock is not looked at
  EXPECT_EQ(counts_->renewals, 0);
  clock_.advance(std::chrono::microseconds(100));
  EXPECT_TRUE(becomes_true([&] { return counts_->renewals == 1; }));
  EXPECT_TRUE(lock.release());
}

// --- When the registry changes, or ends ---

TEST_F(LocksTest, ALockThatWasTakenBeforeAReconfigurationIsReleasedWhereItWasTaken) {
  Lock lock("l", with(30s));
  for (const bool throws : {false, true}) {
    lock.lock();
    const std::string prefix = throws ? "second" : "first";
    registry_.reconfigure(
        Config{.caches = {{"default", {.backend = "memory", .key_prefix = prefix}}}});
    if (throws) {
      EXPECT_TRUE(lock.release());
    } else {
      lock.unlock();
    }
    EXPECT_THAT(lost(), IsEmpty());
  }
}

// The handler may refer to what does not exist any more, and so may the clock.
TEST_F(LocksTest, NoWarningOfAReleasedLockComesAfterTheEndOfItsRegistry) {
  const auto chaos = Chaos::named("default", clock_);
  Lock slow("slow", with(30s));
  slow.lock();
  for (int i = 0; i < 3; ++i) {
    const auto has_ended = std::make_shared<std::atomic<bool>>(false);
    const auto late = std::make_shared<std::atomic<int>>(0);
    {
      ManualClock clock;
      CacheRegistry other({.caches = {{"default", {.backend = "memory"}}}},
                          {.clock = &clock,
                           .on_warning = [=](const Warning&) { *late += *has_ended ? 1 : 0; },
                           .linked_plugins = {&memory_store}});
      Lock lock("l", {.lease = 30s, .renew = false, .registry = &other});
      lock.lock();
      const std::stop_token stop = lock.stop_token();
      chaos->set({.slow = 1, .delay = 50ms});
      clock_.advance(11s);  // the thread that gives warnings is busy with a renewal
      clock.advance(31s);
      EXPECT_TRUE(becomes_true([&] { return stop.stop_requested(); }));
      lock.unlock();
    }
    *has_ended = true;
    chaos->off();
    std::this_thread::sleep_for(150ms);
    EXPECT_EQ(*late, 0);
  }
}

TEST_F(LocksTest, AReleasedLockKeepsNoStoreWhileAnotherOneIsHeld) {
  Lock held("held", with(30s));
  held.lock();
  std::weak_ptr<CacheState> state;
  {
    ManualClock clock;
    CacheRegistry other({.caches = {{"default", {.backend = "memory"}}}},
                        {.clock = &clock, .observer = counts_, .linked_plugins = {&memory_store}});
    Lock lock("l", {.lease = 30s, .registry = &other});
    state = other["default"].state();
    lock.lock();
    clock.advance(11s);
    EXPECT_TRUE(becomes_true([&] { return counts_->renewals == 1; }));
    EXPECT_TRUE(lock.release());
  }
  EXPECT_TRUE(state.expired());
  EXPECT_TRUE(held.release());
}

TEST_F(LocksTest, ManyLocksAreRenewedAtOnce) {
  std::vector<std::unique_ptr<Lock>> locks;
  for (int i = 0; i < 50; ++i) {
    locks.push_back(std::make_unique<Lock>("l" + std::to_string(i), with(30s)));
    locks.back()->lock();
  }
  for (int i = 1; i <= 3; ++i) {
    clock_.advance(15s);
    ASSERT_TRUE(becomes_true([&] { return counts_->renewals == 50 * i; })) << i;
  }
  for (const auto& lock : locks) EXPECT_TRUE(lock->release());
}

TEST_F(LocksTest, ALongLeaseIsNoProblem) {
  Lock lock("l", with(std::chrono::milliseconds::max()));
  lock.lock();
  EXPECT_TRUE(lock.is_held());
  clock_.advance(24h * 365);
  EXPECT_TRUE(lock.is_held());
  EXPECT_TRUE(lock.release());
}

// --- Passing on ---

TEST_F(LocksTest, ALockIsPassedOnByItsToken) {
  Lock lock("l", with(30s));
  lock.lock();
  const std::string token = lock.detach();
  EXPECT_FALSE(lock.is_held());
  Lock other("l", with(30s));
  EXPECT_FALSE(other.try_lock()) << "the store keeps it";
  on_another_thread([&] {
    EXPECT_FALSE(other.adopt("no such token"));
    EXPECT_TRUE(other.adopt(token));
    EXPECT_TRUE(other.is_held());
    EXPECT_EQ(other.fence(), 0U);
    EXPECT_EQ(other.token(), token);
    EXPECT_THROW(other.adopt(token), CacheError);
    return other.release();
  });
  EXPECT_FALSE(other.adopt(token)) << "it is released";
  lock.lock();
  const std::string again = lock.detach();
  clock_.advance(31s);
  EXPECT_FALSE(lock.adopt(again)) << "its lease has ended";
}

// --- The others ---

TEST_F(LocksTest, ARecursiveLockIsTakenAgainByItsThread) {
  RecursiveLock lock("l", with(30s));
  const auto is_free = [&] {
    return on_another_thread([&] {
      const bool taken = lock.try_lock();
      if (taken) lock.unlock();
      return taken;
    });
  };
  lock.lock();
  lock.lock();
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.try_lock_for(1s));
  EXPECT_EQ(counts_->takes, 1) << "only the first one asks the store";
  lock.unlock();
  EXPECT_TRUE(lock.release());
  lock.unlock();
  EXPECT_TRUE(lock.is_held());
  EXPECT_FALSE(is_free());
  EXPECT_TRUE(lock.release());
  EXPECT_FALSE(lock.is_held());
  EXPECT_TRUE(is_free());
  EXPECT_THROW(lock.release(), CacheError);
  EXPECT_THAT(lost(), IsEmpty());
}

TEST_F(LocksTest, ARecursiveLockThatWasLostIsNotTakenAgain) {
  RecursiveLock lock("l", with(30s, false));
  lock.lock();
  lock.lock();
  clock_.advance(31s);
  EXPECT_THAT(message_of<CacheError>([&] { lock.lock(); }), HasSubstr("was lost"));
  EXPECT_FALSE(lock.release());
  EXPECT_FALSE(lock.release());
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.release());
}

TEST_F(LocksTest, ASemaphoreHasSoManyPermits) {
  Semaphore semaphore("s", 3, with(30s));
  EXPECT_EQ(semaphore.permits(), 3);
  EXPECT_EQ(semaphore.name(), "s");
  semaphore.acquire();
  semaphore.acquire();
  Semaphore same("s", 3, with(30s));
  EXPECT_TRUE(same.try_acquire());
  EXPECT_FALSE(same.try_acquire());
  EXPECT_FALSE(semaphore.try_acquire_for(5ms));
  EXPECT_TRUE(semaphore.release());
  EXPECT_TRUE(same.try_acquire_until(std::chrono::steady_clock::now() + 1s));
  EXPECT_TRUE(same.release());
  EXPECT_TRUE(same.release());
  EXPECT_THAT(message_of<CacheError>([&] { same.release(); }), HasSubstr("nothing of it"));
  EXPECT_TRUE(on_another_thread([&] { return semaphore.release(); })) << "of another thread";
  EXPECT_THROW(semaphore.release(), CacheError);
}

TEST_F(LocksTest, ASemaphoreOfOnePermitIsNoLock) {
  Semaphore semaphore("s", 1, with(30s));
  semaphore.acquire();
  EXPECT_FALSE(semaphore.try_acquire()) << "a thread may take several, if there are several";
  EXPECT_FALSE(semaphore.try_acquire_for(2ms));
  std::thread other([&] { EXPECT_TRUE(semaphore.release()); });
  semaphore.acquire();  // when the other thread has given back the first one
  other.join();
  EXPECT_TRUE(semaphore.release());
}

TEST_F(LocksTest, APermitIsLostWithItsLease) {
  Semaphore semaphore("s", 2, with(30s, false));
  semaphore.acquire();
  const std::stop_token first = semaphore.stop_token();
  clock_.advance(20s);
  semaphore.acquire();
  const std::stop_token second = semaphore.stop_token();
  clock_.advance(10s);
  EXPECT_TRUE(becomes_true([&] { return first.stop_requested(); }));
  EXPECT_FALSE(second.stop_requested());
  EXPECT_TRUE(semaphore.release());
  EXPECT_FALSE(semaphore.release());
}

TEST_F(LocksTest, NoMoreThreadsThanPermitsAreInside) {
  Semaphore semaphore("s", 3, with(30s));
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 10; ++turn) {
        semaphore.acquire();
        const int now = ++inside;
        int before = most;
        while (now > before && !most.compare_exchange_weak(before, now)) {
        }
        std::this_thread::yield();
        --inside;
        EXPECT_TRUE(semaphore.release());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 3);
}

TEST_F(LocksTest, ABarrierRunsInOnePlaceAtATime) {
  std::atomic<int> inside{0};
  std::atomic<int> together{0};
  auto square = barrier(
      "square",
      [&](int n) {
        if (++inside != 1) ++together;
        std::this_thread::yield();
        --inside;
        return n * n;
      },
      with(30s));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int turn = 0; turn < 10; ++turn) EXPECT_EQ(square(i), i * i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, 0);

  auto fails = barrier(registry_["default"], "fails", [] { throw std::runtime_error("no"); });
  EXPECT_THROW(fails(), std::runtime_error);
  EXPECT_THROW(fails(), std::runtime_error) << "it was released";
  std::function<int()> again;
  auto inner = barrier(
      "inner", [&] { return again(); }, with(30s));
  again = [&] { return inner(); };
  EXPECT_THROW(inner(), CacheError) << "it does not wait for itself";
  EXPECT_EQ(fails.lock().name(), "fails");
}

// --- Where a lock is made ---

TEST_F(LocksTest, ALockOfACacheIsThatOfItsAlias) {
  Lock mine(registry_["default"], "l");
  Lock same("l");
  mine.lock();
  EXPECT_FALSE(same.try_lock());
  const auto prefixed =
      Config{.caches = {{"default", {.backend = "memory", .key_prefix = "other"}}}};
  CacheRegistry other(prefixed, {.clock = &clock_, .linked_plugins = {&memory_store}});
  Lock elsewhere(other["default"], "l");
  EXPECT_TRUE(elsewhere.try_lock()) << "another prefix";
  elsewhere.unlock();
  mine.unlock();
}

TEST_F(LocksTest, BadInputIsAnErrorThatSaysWhat) {
  EXPECT_THAT(message_of<ValueError>([&] { Lock("", with(30s)); }), HasSubstr("name is empty"));
  EXPECT_THAT(message_of<ValueError>([&] { Lock("l", with(0s)); }), HasSubstr("a lease of 0 ms"));
  EXPECT_THAT(message_of<ValueError>([&] { Lock("l", with(-1s)); }), HasSubstr("-1000 ms"));
  EXPECT_THAT(message_of<ValueError>([&] { Semaphore("s", 0, with(30s)); }),
              HasSubstr("0 permits; give 1 to 1000"));
  EXPECT_THROW(Semaphore("s", -3, with(30s)), ValueError);
  EXPECT_THROW(Semaphore("s", 1001, with(30s)), ValueError);
  EXPECT_THROW(Semaphore("", 1, with(30s)), ValueError);
  EXPECT_THROW(Lock("l", {.cache = "unknown", .registry = &registry_}), ConfigError);
  EXPECT_THROW(Lock(KeyView(static_cast<const char*>(nullptr)), with(30s)), InvalidKey);
  const std::string message =
      message_of<BackendError>([&] { Lock("l", {.cache = "none", .registry = &registry_}); });
  EXPECT_THAT(message, HasSubstr("has no locks"));
  EXPECT_THAT(message, HasSubstr("locmem"));
  EXPECT_THROW(barrier(registry_["none"], "b", [] {}), BackendError);
}

TEST_F(LocksTest, ANullPointerAsATokenIsAnInvalidKey) {
  const char* const null = nullptr;
  Lock lock("l", with(30s));
  EXPECT_THROW(lock.adopt(null), InvalidKey);
  EXPECT_THROW(Lock(null, with(30s)), InvalidKey);
}

TEST_F(LocksTest, AStoreThatFailsNowIsAskedLater) {
  const auto chaos = Chaos::named("default", clock_);
  chaos->set({.fail = 1});
  Lock lock("l", with(30s));
  EXPECT_THROW(lock.try_lock(), BackendError);
  chaos->off();
  clock_.advance(1h);
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.release());
}

TEST_F(LocksTest, NamesAreTextsWithoutLimits) {
  for (const std::string& name :
       {std::string("a b\n{}%:"), std::string(5000, 'n'), std::string("\0x", 2)}) {
    Lock lock(name, with(30s));
    Lock same(name, with(30s));
    Lock longer(name + "n", with(30s));
    lock.lock();
    EXPECT_FALSE(same.try_lock());
    EXPECT_TRUE(longer.try_lock());
    longer.unlock();
    lock.unlock();
  }
}

// --- Ends ---

TEST_F(LocksTest, ALockIsReleasedWhenItEnds) {
  {
    Lock lock("l", with(30s));
    lock.lock();
    Semaphore semaphore("s", 1, with(30s));
    semaphore.acquire();
  }
  Lock lock("l", with(30s));
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
  EXPECT_TRUE(Semaphore("s", 1, with(30s)).try_acquire());
  EXPECT_THAT(lost(), IsEmpty());
}

TEST_F(LocksTest, AChildOfForkHoldsNothing) {
  Lock lock("l", with(30s));
  std::unique_lock guard(lock);
  const pid_t child = ::fork();
  if (child == 0) {
    bool good = !lock.is_held();
    good = good && message_of<CacheError>([&] { lock.release(); }) != "nothing was thrown";
    guard.release();
    lock.unlock();  // does nothing
    // The child's copy of the store is its own.
    Lock own("l", with(30s));
    good = good && own.try_lock() && own.is_held() && own.release();
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(lock.is_held());
  clock_.advance(15s);
  EXPECT_TRUE(becomes_true([&] { return counts_->renewals == 1; }));
  guard.unlock();
  EXPECT_THAT(lost(), IsEmpty());
}

}  // namespace
}  // namespace polycache::testing
