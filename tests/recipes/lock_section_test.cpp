// What locks take from the sections "locks" and "lock_defaults" of the configuration.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "polycache/locks.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "support/message_of.h"

namespace polycache::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

Config from(const std::string& members) {
  return Config::from_json(R"({
    "caches": {"default": {"backend": "memory", "location": "one"},
               "other": {"backend": "memory", "location": "two"}},
    )" + members + "}",
                           "shop.json");
}

class LockSections : public ::testing::Test {
 protected:
  Environment environment() {
    return {.clock = &clock_,
            .on_warning = [](const Warning&) {},  // of leases that end
            .linked_plugins = {&memory_store}};
  }

  // How long a lock lasts that is not renewed.
  template <class... Options>
  std::chrono::seconds lease_of(const std::string& name, Options&&... options) {
    Lock lock(name, std::forward<Options>(options)...);
    lock.lock();
    std::chrono::seconds lasted{0};
    while (lock.is_held() && lasted < 10min) {
      clock_.advance(1s);
      ++lasted;
    }
    lock.unlock();
    return lasted;
  }
  std::string problem(const std::string& members) {
    return message_of<ConfigError>([&] { const CacheRegistry one(from(members), environment()); });
  }

  ManualClock clock_;
};

TEST_F(LockSections, CodeComesBeforeTheNameAndTheNameBeforeTheDefaults) {
  CacheRegistry registry(from(R"("lock_defaults": {"lease": "40s", "renew": false},
                                 "locks": {"mine": {"lease": 50}})"),
                         environment());
  const ScopedGlobalRegistry scope(registry);
  EXPECT_EQ(lease_of("any"), 40s);
  EXPECT_EQ(lease_of("mine"), 50s) << "it has the rest from the defaults";
  EXPECT_EQ(lease_of("mine", LockOptions{.lease = 20s}), 20s);
  EXPECT_EQ(lease_of("mine", LockOptions{.registry = &registry}), 50s);
}

TEST_F(LockSections, WithoutThemALeaseIsThirtySeconds) {
  CacheRegistry registry(from(R"("locks": {})"), environment());
  EXPECT_EQ(lease_of("any", LockOptions{.renew = false, .registry = &registry}), 30s);
}

TEST_F(LockSections, TheAliasIsThatOfTheName) {
  CacheRegistry registry(from(R"("locks": {"mine": {"cache": "other"}})"), environment());
  Lock configured("mine", {.registry = &registry});
  Lock there("mine", {.cache = "other", .registry = &registry});
  Lock elsewhere("mine", {.cache = "default", .registry = &registry});
  EXPECT_TRUE(there.try_lock());
  EXPECT_TRUE(elsewhere.try_lock());
  EXPECT_TRUE(there.release());
  EXPECT_TRUE(configured.try_lock());
  Lock last("mine", {.cache = "other", .registry = &registry});
  std::thread([&] { EXPECT_FALSE(last.try_lock()); }).join();
  EXPECT_TRUE(configured.release());
  EXPECT_TRUE(elsewhere.release());
}

TEST_F(LockSections, SemaphoresAndBarriersHaveThemToo) {
  CacheRegistry registry(from(R"("locks": {"s": {"cache": "none"}, "b": {"cache": "missing"}})"),
                         environment());
  EXPECT_THAT(message_of<ConfigError>([&] { Semaphore("s", 2, {.registry = &registry}); }),
              HasSubstr("\"none\""));
  EXPECT_THAT(message_of<ConfigError>([&] { barrier("b", [] {}, {.registry = &registry}); }),
              HasSubstr("\"missing\""));
}

TEST_F(LockSections, OneThatIsMadeWithACacheReadsThoseOfItsOptions) {
  CacheRegistry registry(from(R"("lock_defaults": {"lease": "40s", "renew": false})"),
                         environment());
  const auto lasts = [&](const LockOptions& options) {
    Lock lock(registry["default"], "mine", options);
    lock.lock();
    clock_.advance(35s);
    const bool is_held = lock.is_held();
    lock.unlock();
    return is_held;
  };
  EXPECT_FALSE(lasts({.renew = false}));
  EXPECT_TRUE(lasts({.registry = &registry}));
}

TEST_F(LockSections, AReloadChangesLocksThatAreMadeLater) {
  CacheRegistry registry(from(R"("lock_defaults": {"lease": "40s", "renew": false})"),
                         environment());
  Lock older("older", {.registry = &registry});
  registry.reconfigure(from(R"("lock_defaults": {"lease": "50s", "renew": false})"));
  EXPECT_EQ(lease_of("newer", LockOptions{.registry = &registry}), 50s);
  older.lock();
  clock_.advance(45s);
  EXPECT_FALSE(older.is_held());
  older.unlock();
}

TEST_F(LockSections, EveryProblemIsNamedWithItsPlace) {
  EXPECT_THAT(problem(R"("lock_defaults": {"leese": "1m"},
    "locks": {
      "a": {"lease": "soon"},
      "b": {"lease": 0},
      "c": {"evicting_store": "maybe"},
      "d": {"renew": "often", "Lease": 5}})"),
              AllOf(HasSubstr("shop.json:4: lock_defaults.leese: unknown"),
                    HasSubstr("did you mean \"lease\"?"), HasSubstr("shop.json:6: locks.a.lease"),
                    HasSubstr("shop.json:7: locks.b.lease"),
                    HasSubstr("shop.json:8: locks.c.evicting_store"),
                    HasSubstr("shop.json:9: locks.d.renew"), HasSubstr("locks.d.Lease")));
  EXPECT_THAT(problem(R"("locks": [{"lease": 5}])"), HasSubstr("a list names no locks"));
  EXPECT_THAT(problem(R"("locks": {"a": 5})"), HasSubstr("locks.a"));
}

}  // namespace
}  // namespace polycache::testing
