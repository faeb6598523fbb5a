// The part of the conformance suite about locks: the extension lock/1, and Cache::with_extension()
// with which recipes use it. backend_conformance.h includes it.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "polycache/observer.h"
#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

// The lock of one test, by its final key. Locks outlive clear(), so no two tests have the same.
class LockUnderTest {
 public:
  using Claim = LockExtension::Claim;

  explicit LockUnderTest(std::uint32_t permits = 1) : permits_(permits) {
    static std::atomic<int> count{0};
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    key_ = "p:~k:{" + std::to_string(now.count()) + "-" + std::to_string(++count) + "}";
  }

  const std::string& key() const noexcept { return key_; }
  LockExtension::Taken take(Cache& cache, std::string_view token,
                            std::chrono::milliseconds lease = std::chrono::minutes(1)) const {
    return of(cache).take(claim(token), lease);
  }
  bool renew(Cache& cache, std::string_view token,
             std::chrono::milliseconds lease = std::chrono::minutes(1)) const {
    return of(cache).renew(claim(token), lease);
  }
  bool release(Cache& cache, std::string_view token) const {
    return of(cache).release(claim(token));
  }
  // Takes it as soon as it is free.
  void wait_and_take(Cache& cache, std::string_view token) const {
    while (!take(cache, token).taken) {
      const bool has_waited = of(cache).wait(key_, std::chrono::milliseconds(5));
      if (!has_waited) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  static LockExtension& of(Cache& cache) { return *cache.extension<LockExtension>(); }

 private:
  Claim claim(std::string_view token) const noexcept {
    return {.key = key_, .token = token, .permits = permits_};
  }

  std::string key_;
  std::uint32_t permits_;
};

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, AStoreWithoutLocksSaysWhichStoresHaveThem) {
  ASSERT_EQ(store().extension<LockExtension>() != nullptr, quirks().has_locks);
  if (quirks().has_locks) return;
  try {
    store().with_extension<LockExtension>(Op::lock, "name", "has no locks",
                                          [](LockExtension&, std::string_view) { return true; });
    ADD_FAILURE() << "did not throw";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::unsupported);
    EXPECT_NE(std::string(error.what()).find("has no locks"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("locmem"), std::string::npos) << error.what();
  }
}

TEST_P(BackendConformance, ALockHasOneHolderUntilItIsReleased) {
  if (!quirks().has_locks) return;
  const LockUnderTest lock;
  EXPECT_TRUE(lock.take(store(), "a").taken);
  const LockExtension::Taken refused = lock.take(store(), "b");
  EXPECT_FALSE(refused.taken);
  EXPECT_EQ(refused.fence, 0U);
  EXPECT_GE(refused.wait.count(), 0);
  EXPECT_LE(refused.wait, std::chrono::minutes(1) + quirks().granularity);
  EXPECT_TRUE(lock.release(store(), "a"));
  EXPECT_FALSE(lock.release(store(), "a")) << "it was released";
  EXPECT_TRUE(lock.take(store(), "b").taken);
  EXPECT_TRUE(LockUnderTest().take(store(), "c").taken) << "another lock";
  EXPECT_TRUE(lock.release(store(), "b"));
}

TEST_P(BackendConformance, AnotherTokenNeitherRenewsNorReleasesALock) {
  if (!quirks().has_locks) return;
  const LockUnderTest lock;
  EXPECT_FALSE(lock.renew(store(), "a")) << "it is free";
  EXPECT_FALSE(lock.release(store(), "a")) << "it is free";
  EXPECT_TRUE(lock.take(store(), "a").taken);
  for (const char* const token : {"b", "A", "aa"}) {
    EXPECT_FALSE(lock.renew(store(), token)) << token;
    EXPECT_FALSE(lock.release(store(), token)) << token;
  }
  EXPECT_FALSE(lock.take(store(), "b").taken);
  EXPECT_TRUE(lock.renew(store(), "a"));
  EXPECT_TRUE(lock.release(store(), "a"));
}

TEST_P(BackendConformance, ALockEndsWithItsLease) {
  if (!quirks().has_locks) return;
  const LockUnderTest lock;
  EXPECT_TRUE(lock.take(store(), "a", short_life()).taken);
  EXPECT_FALSE(lock.take(store(), "b").taken);
  outlive();
  EXPECT_FALSE(lock.renew(store(), "a"));
  EXPECT_FALSE(lock.release(store(), "a"));
  EXPECT_TRUE(lock.take(store(), "b").taken);
  EXPECT_FALSE(lock.renew(store(), "a")) << "another one has it";
  EXPECT_FALSE(lock.release(store(), "a")) << "another one has it";
  EXPECT_TRUE(lock.release(store(), "b"));
}

TEST_P(BackendConformance, ARenewedLockLastsLonger) {
  if (!quirks().has_locks) return;
  const LockUnderTest lock;
  EXPECT_TRUE(lock.take(store(), "a", short_life()).taken);
  EXPECT_TRUE(lock.renew(store(), "a", std::chrono::minutes(1)));
  outlive();
  EXPECT_FALSE(lock.take(store(), "b").taken);
  EXPECT_TRUE(lock.renew(store(), "a", short_life())) << "shorter than what it had";
  outlive();
  EXPECT_TRUE(lock.take(store(), "b").taken);
  EXPECT_TRUE(lock.release(store(), "b"));
}

// An answer may have been lost, and the call repeated.
TEST_P(BackendConformance, ATokenThatHasALockTakesItAgain) {
  if (!quirks().has_locks) return;
  const LockUnderTest lock(2);
  EXPECT_TRUE(lock.take(store(), "a", short_life()).taken);
  EXPECT_TRUE(lock.take(store(), "a").taken);
  EXPECT_TRUE(lock.take(store(), "b").taken) << "it has one place, not two";
  outlive();
  EXPECT_FALSE(lock.take(store(), "c").taken) << "the later lease holds";
  EXPECT_TRUE(lock.release(store(), "a"));
  EXPECT_FALSE(lock.release(store(), "a"));
  EXPECT_TRUE(lock.release(store(), "b"));
}

TEST_P(BackendConformance, FencesGrowWithEachOwner) {
  if (!quirks().has_locks) return;
  const LockUnderTest lock;
  std::uint64_t last = 0;
  const auto check = [&](const LockExtension::Taken& taken) {
    ASSERT_TRUE(taken.taken);
    EXPECT_EQ(taken.fence > 0, quirks().has_fences);
    EXPECT_TRUE(taken.fence > last || !quirks().has_fences) << taken.fence << " after " << last;
    last = taken.fence;
  };
  for (int i = 0; i < 5; ++i) {
    check(lock.take(store(), "a"));
    EXPECT_TRUE(lock.release(store(), "a"));
  }
  check(lock.take(store(), "a", short_life()));
  outlive();
  check(lock.take(store(), "b"));
  EXPECT_TRUE(lock.release(store(), "b"));
}

TEST_P(BackendConformance, ALockHasNoMoreHoldersThanPermits) {
  if (!quirks().has_locks) return;
  const LockUnderTest lock(3);
  EXPECT_TRUE(lock.take(store(), "a").taken);
  EXPECT_TRUE(lock.take(store(), "b", short_life()).taken);
  EXPECT_TRUE(lock.take(store(), "c").taken);
  EXPECT_FALSE(lock.take(store(), "d").taken);
  EXPECT_TRUE(lock.renew(store(), "c"));
  EXPECT_TRUE(lock.release(store(), "a"));
  EXPECT_TRUE(lock.take(store(), "d").taken);
  EXPECT_FALSE(lock.take(store(), "e").taken);
  outlive();
  EXPECT_TRUE(lock.take(store(), "e").taken) << "the lease of one ended";
  EXPECT_FALSE(lock.take(store(), "f").taken);
  for (const char* const token : {"c", "d", "e"}) EXPECT_TRUE(lock.release(store(), token));
}

TEST_P(BackendConformance, AStoreSaysWhetherItKeepsLocks) {
  if (!quirks().has_locks) return;
  EXPECT_EQ(LockUnderTest::of(store()).keeping(), quirks().keeps_locks
                                                      ? LockExtension::Keeping::kept
                                                      : LockExtension::Keeping::may_evict);
}

TEST_P(BackendConformance, WaitingForALockEndsAtItsLimit) {
  if (!quirks().has_locks) return;
  const LockUnderTest lock;
  EXPECT_TRUE(lock.take(store(), "a").taken);
  const auto begin = std::chrono::steady_clock::now();
  const bool can = LockUnderTest::of(store()).wait(lock.key(), std::chrono::milliseconds(100));
  const auto waited = std::chrono::steady_clock::now() - begin;
  EXPECT_TRUE(!can || waited >= std::chrono::milliseconds(90));
  EXPECT_LT(waited, std::chrono::seconds(5));
  EXPECT_TRUE(lock.release(store(), "a"));
}

TEST_P(BackendConformance, LocksMeetNoEntries) {
  if (!quirks().has_locks) return;
  std::string final_key;
  const auto take = [&](LockExtension& locks, std::string_view key) {
    final_key = key;
    return locks.take({.key = key, .token = "a"}, std::chrono::minutes(1)).taken;
  };
  const auto release = [](LockExtension& locks, std::string_view key) {
    return locks.release({.key = key, .token = "a"});
  };
  const auto lock = [&](const std::string& name, auto f) {
    return store().with_extension<LockExtension>(Op::lock, name, "has no locks", f);
  };
  for (const std::string& name :
       {std::string("k"), std::string("a name with blanks: {}%"), std::string(1000, 'k')}) {
    store().set("k", "v");
    EXPECT_TRUE(lock(name, take)) << name;
    EXPECT_EQ(final_key.find(config_.caches["store"].key_prefix + ":~k"), 0U) << final_key;
    EXPECT_EQ(store().get("k"), "v");
    if (can_scan()) {
      int listed = 0;
      for (const EntryInfo& entry : store().scan("*")) listed += entry.key.empty() ? 100 : 1;
      EXPECT_EQ(listed, 1) << name;
    }
    EXPECT_TRUE(store().erase("k"));
    EXPECT_TRUE(lock(name, release)) << name;
    EXPECT_FALSE(lock(name, release)) << name;
  }
}

TEST_P(BackendConformance, OneOfManyTakesALock) {
  if (!quirks().has_locks) return;
  Winners winners{};
  std::array<LockUnderTest, most_rounds> locks;
  const int rounds = in_rounds([&](int round, int thread) {
    const auto i = static_cast<std::size_t>(round);
    winners.at(i) += locks.at(i).take(store(), std::to_string(thread)).taken ? 1 : 0;
  });
  EXPECT_EQ(unfair(winners, rounds), 0) << "of " << rounds << " rounds";
}

TEST_P(BackendConformance, ThreadsOwnALockOneAfterAnother) {
  if (!quirks().has_locks) return;
  const LockUnderTest lock;
  std::atomic<int> inside{0};
  std::atomic<int> together{0};
  std::atomic<int> not_released{0};
  on_threads(4, [&](int thread) {
    const std::string token = std::to_string(thread);
    for (int i = 0; i < 25; ++i) {
      lock.wait_and_take(store(), token);
      if (++inside != 1) ++together;
      std::this_thread::yield();
      --inside;
      if (!lock.release(store(), token)) ++not_released;
    }
  });
  EXPECT_EQ(together, 0);
  EXPECT_EQ(not_released, 0);
}

TEST_P(BackendConformance, ProcessesOwnALockOneAfterAnother) {
  if (!quirks().has_locks || !quirks().shared_between_processes) return;
  constexpr int processes = 3;
  constexpr int turns = 20;
  const LockUnderTest lock;
  store().set("n", 0, never);
  in_processes(processes, [&](int process) {
    const std::string token = std::to_string(process);
    bool good = true;
    for (int i = 0; i < turns; ++i) {
      lock.wait_and_take(store(), token);
      // In two steps, which only the lock makes one.
      store().set("n", store().get<int>("n").value_or(-1000) + 1, never);
      good = lock.release(store(), token) && good;
    }
    return good;
  });
  EXPECT_EQ(store().get<int>("n"), processes * turns);
}

// --- A store that keeps nothing ---

TEST_P(KeepsNothingConformance, HasNoLocks) {
  EXPECT_EQ(store().extension<LockExtension>(), nullptr);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
