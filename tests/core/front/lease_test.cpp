// LoadOptions::lease: one computation in all processes. Two registries with one store stand for two
// processes; tests/faults/stampede_test.cpp has real ones.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/manual_executor.h"
#include "polycache/testing/memory_store.h"
#include "support/hiding_layer.h"
#include "support/message_of.h"

namespace polycache {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_of;
using namespace std::chrono_literals;

class Lease : public ::testing::Test {
 protected:
  struct Process {
    Process(Lease& test, LoadPolicy load)
        : registry(config(load), test.environment()), cache(registry["default"]) {}

    static Config config(LoadPolicy load) {
      Config config;
      config.caches["default"] = {
          .backend = "memory", .timeout = 100s, .load = load, .layers = {{.name = "chaos"}}};
      config.caches["bare"] = {
          .backend = "memory", .timeout = 100s, .layers = {{.name = "hiding"}}};
      config.caches["strict"] = {.backend = "memory", .options = {{"keys", std::string("strict")}}};
      config.caches["private"] = {.backend = "locmem", .load = {.lease = 10s}};
      return config;
    }

    CacheRegistry registry;
    Cache& cache;
  };

  Environment environment() {
    return {.clock = &clock_,
            .on_warning =
                [this](const Warning& warning) {
                  const std::lock_guard lock(mutex_);
                  warnings_.emplace_back(warning.message);
                  if (handler_) handler_();
                },
            .executor = executor_,
            .linked_plugins = {&testing::memory_store, &testing::chaos_layer,
                               &testing::hiding_layer, &locmem::plugin}};
  }
  std::vector<std::string> take_warnings() {
    const std::lock_guard lock(mutex_);
    return std::exchange(warnings_, {});
  }

  // A computation in the other process, which goes on until the test ends it.
  class Computing {
   public:
    Computing(Process& process, std::string key, LoadOptions options) {
      std::promise<void> started;
      auto has_started = started.get_future();
      result_ = std::async(std::launch::async, [&process, &started, this, key, options] {
        return process.registry["default"].get_or_set(
            key,
            [&] {
              started.set_value();
              if (end_.get_future().get()) throw std::runtime_error("the origin is down");
              return std::string("theirs");
            },
            options);
      });
      has_started.get();
    }
    std::string ends() {
      end_.set_value(false);
      return result_.get();
    }
    void fails() {
      end_.set_value(true);
      EXPECT_THROW(result_.get(), std::runtime_error);
    }
    std::future<std::string>& fails_later() {
      end_.set_value(true);
      return result_;
    }

   private:
    std::promise<bool> end_;
    std::future<std::string> result_;
  };
  static std::string mine() { return "mine"; }
  static std::string fails() { throw std::runtime_error("the origin is down"); }
  // Whether the store has anything under that final key.
  bool has(const std::string& stored_key) {
    return other_.cache.backend().get(stored_key, [](std::string_view) {});
  }

  static constexpr auto final_key = ":1:k";
  static constexpr auto separate_key = ":~l::1:k";
  const LoadOptions leased_{.lease = 10s};

  testing::ManualClock clock_;
  std::shared_ptr<testing::ManualExecutor> executor_ = std::make_shared<testing::ManualExecutor>();
  std::mutex mutex_;
  std::vector<std::string> warnings_;
  std::function<void()> handler_;
  Process one_{*this, {}};
  Process other_{*this, {}};
};

TEST_F(Lease, AnotherProcessWaitsForTheValue) {
  Computing theirs(one_, "k", leased_);
  auto waiting = std::async(std::launch::async, [&] {
    return other_.registry["default"].get_or_set("k", mine, leased_);
  });
  EXPECT_EQ(waiting.wait_for(20ms), std::future_status::timeout);
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(waiting.get(), "theirs");
  EXPECT_EQ(other_.registry["default"].statistics().waits, 1U);
  EXPECT_EQ(other_.registry["default"].statistics().loads, 0U);
  EXPECT_EQ(other_.cache.get("k"), "theirs");
}

TEST_F(Lease, AnAliasMayHaveItForAllCalls) {
  Process process(*this, {.lease = 10s});
  Computing theirs(process, "k", {});
  EXPECT_TRUE(has(final_key));
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(process.cache.get_or_set("l",
                                     [&] {
                                       EXPECT_FALSE(has(":1:l"));
                                       return mine();
                                     },
                                     {.lease = off}),
            "mine");
}

TEST_F(Lease, AKeyThatIsComputedCountsAsAbsent) {
  Computing theirs(one_, "k", leased_);
  EXPECT_FALSE(other_.cache.get("k"));
  EXPECT_FALSE(other_.cache.contains("k"));
  EXPECT_FALSE(other_.cache.touch("k", 1h));
  EXPECT_FALSE(other_.cache.persist("k"));
  EXPECT_FALSE(other_.cache.expire("k"));
  EXPECT_EQ(other_.cache.get_entry("k").status, EntryStatus::miss);
  EXPECT_FALSE(other_.cache.pop("k")) << "takes the lease away";
  for (const EntryInfo& entry : other_.cache.scan("*")) ADD_FAILURE() << entry.key;
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_FALSE(other_.cache.get("k"));
  EXPECT_THAT(take_warnings(), IsEmpty());
}

TEST_F(Lease, WritesOfAnotherProcessWin) {
  const auto during = [&](auto&& write) {
    Computing theirs(one_, "k", leased_);
    write(other_.cache);
    EXPECT_EQ(theirs.ends(), "theirs") << "its caller gets it";
    auto kept = other_.cache.get("k");
    other_.cache.clear();
    return kept;
  };
  EXPECT_EQ(during([](Cache& cache) { cache.set("k", "set"); }), "set");
  EXPECT_EQ(during([](Cache& cache) { EXPECT_TRUE(cache.add("k", "added")); }), "added");
  EXPECT_EQ(during([](Cache& cache) { cache.erase("k"); }), std::nullopt);
  EXPECT_EQ(during([](Cache& cache) { cache.clear(); }), std::nullopt);
  EXPECT_EQ(during([](Cache& cache) { cache.erase_many({"k"}); }), std::nullopt);
  EXPECT_EQ(during([](Cache& cache) { EXPECT_EQ(cache.incr("k", 1, {.initial = 4}), 5); }), "5");
  EXPECT_EQ(during([](Cache& cache) { cache.get_or_set("k", mine); }), "mine") << "without a lease";
  EXPECT_THAT(take_warnings(), IsEmpty());
}

TEST_F(Lease, AnErasedTagOfAnotherProcessWins) {
  Computing theirs(one_, "k", {.tags = {"t"}, .lease = 10s});
  other_.cache.erase_tag("t");
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_FALSE(other_.cache.get("k"));
}

TEST_F(Lease, AFailureGivesItBack) {
  EXPECT_THROW(one_.cache.get_or_set("k", fails, leased_), std::runtime_error);
  EXPECT_FALSE(has(final_key));
  Computing theirs(one_, "k", leased_);
  auto waiting = std::async(std::launch::async, [&] {
    return other_.registry["default"].get_or_set("k", mine, leased_);
  });
  theirs.fails();
  EXPECT_EQ(waiting.get(), "mine");
  EXPECT_EQ(one_.cache.get("k"), "mine");
}

TEST_F(Lease, AValueThatIsNotStoredGivesItBack) {
  const auto computed = [](Load& load) {
    load.do_not_store();
    return std::string("computed");
  };
  EXPECT_EQ(one_.cache.get_or_set("k", computed, leased_), "computed");
  EXPECT_FALSE(has(final_key));
  const auto nothing = []() -> std::optional<std::string> { return std::nullopt; };
  EXPECT_FALSE(one_.cache.get_or_set("k", nothing, leased_));
  EXPECT_FALSE(has(final_key));
  EXPECT_EQ(one_.cache.get_or_set("k", mine, {.timeout = 0s, .lease = 10s}), "mine");
  EXPECT_FALSE(has(final_key));
}

TEST_F(Lease, NothingIsRememberedForAllProcesses) {
  const LoadOptions options{.negative_timeout = 50s, .lease = 10s};
  int asked = 0;
  const auto nothing = [&]() -> std::optional<int> {
    ++asked;
    return std::nullopt;
  };
  EXPECT_FALSE(one_.cache.get_or_set("k", nothing, options));
  EXPECT_FALSE(other_.cache.get_or_set("k", nothing, options));
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(other_.cache.get_or_set(
                "k", [] { return 7; }, options),
            7);
  EXPECT_EQ(one_.cache.get_or_set("k", nothing, options), 7);
}

TEST_F(Lease, EndsWithoutItsOwner) {
  Computing theirs(one_, "k", leased_);
  clock_.advance(11s);
  EXPECT_EQ(other_.cache.get_or_set("k", mine, leased_), "mine");
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(other_.cache.get("k"), "mine");
}

TEST_F(Lease, AComputationThatOutlastsItIsNotStoredWhichAWarningSays) {
  const auto slow = [&] {
    std::this_thread::sleep_for(3ms);
    clock_.advance(3ms);
    return std::string("slow");
  };
  EXPECT_EQ(one_.cache.get_or_set("k", slow, {.lease = 2ms}), "slow");
  EXPECT_FALSE(other_.cache.get("k"));
  EXPECT_THAT(take_warnings(), ElementsAre(HasSubstr("longer than its lease of 2 ms")));
}

TEST_F(Lease, AWarningHandlerMayUseTheKeyWhoseLeaseWasOver) {
  handler_ = [&] { one_.registry["default"].erase("k"); };
  const auto slow = [&] {
    std::this_thread::sleep_for(3ms);
    clock_.advance(3ms);
    return std::string("slow");
  };
  EXPECT_EQ(one_.cache.get_or_set("k", slow, {.lease = 2ms}), "slow");
  EXPECT_EQ(take_warnings().size(), 1U);
  one_.cache.get_or_set_many<std::string>(
      {"k"}, [&](std::span<const std::string>) { return std::vector{slow()}; }, {.lease = 2ms});
  EXPECT_EQ(take_warnings().size(), 1U);
  handler_ = [] { throw std::logic_error("from the handler"); };
  EXPECT_THROW(one_.cache.get_or_set("k", slow, {.lease = 2ms}), std::logic_error);
}

TEST_F(Lease, AnOperationThatFindsItLeavesItsTime) {
  Computing theirs(one_, "k", leased_);
  EXPECT_FALSE(other_.cache.touch("k", 1h));
  EXPECT_FALSE(other_.cache.get("k", {.touch = never}));
  EXPECT_FALSE(other_.cache.get("k", {.touch = 1s}));
  clock_.advance(9s);
  EXPECT_TRUE(has(final_key));
  clock_.advance(2s);
  EXPECT_FALSE(has(final_key));
  EXPECT_EQ(theirs.ends(), "theirs");
}

TEST_F(Lease, AStoreThatKeepsNoneIsNotWaitedFor) {
  testing::Chaos::named("default", clock_)->set({.refuse = 1});
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(one_.cache.get_or_set("k", mine, leased_), "mine");
  EXPECT_EQ((one_.cache.get_or_set_many<std::string>(
                {"k"}, [](std::span<const std::string>) { return std::vector{mine()}; }, leased_)),
            std::vector{std::optional(mine())});
  testing::Chaos::named("default", clock_)->off();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s) << "not the longest wait";
}

TEST_F(Lease, AnErasureInThisProcessWhileItWaitsCostsNoComputation) {
  Computing theirs(one_, "k", leased_);
  int computed = 0;
  auto waiting = std::async(std::launch::async, [&] {
    return other_.registry["default"].get_or_set(
        "k", [&] { return std::to_string(++computed); }, leased_);
  });
  while (other_.cache.statistics().waits == 0) std::this_thread::sleep_for(1ms);
  other_.cache.erase("k");
  EXPECT_EQ(waiting.get(), "1");
  EXPECT_EQ(other_.cache.get("k"), "1") << "stored, since it was computed after the erasure";
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(other_.cache.get("k"), "1");
}

TEST_F(Lease, NoneIsTakenForWhatIsNotStored) {
  one_.cache.get_or_set("k",
                        [&] {
                          EXPECT_FALSE(has(final_key));
                          return mine();
                        },
                        {.timeout = 0s, .lease = 10s});
}

TEST_F(Lease, EntriesThatCountAsAbsentAreReplaced) {
  const auto replaced = [&](const LoadOptions& options) {
    return one_.cache.get_or_set(
        "k",
        [&] {
          EXPECT_FALSE(other_.cache.contains("k"));
          EXPECT_EQ(other_.cache.get_or_set("k", mine, {.timeout = 0s}), "mine");
          return std::string("computed");
        },
        options);
  };
  one_.cache.set("k", "tagged", {.tags = {"t"}});
  one_.cache.erase_tag("t");
  EXPECT_EQ(replaced(leased_), "computed");
  EXPECT_EQ(other_.cache.get("k"), "computed");
  one_.cache.set("k", "");  // not a number
  EXPECT_EQ(one_.cache.get_or_set(
                "k", [] { return 5; }, leased_),
            5);
  EXPECT_EQ(other_.cache.get<int>("k"), 5);
  EXPECT_THAT(take_warnings(), ElementsAre(HasSubstr("not of the type")));
}

// --- A value that stays readable. ---

class SeparateLease : public Lease {
 protected:
  // Waiting for the refresh of another process would take 30 s.
  const LoadOptions options_{
      .timeout = 100s, .refresh_after = 0.5, .stale_if_error = 1h, .lease = 10s};
  SeparateLease() {
    one_.cache.get_or_set(
        "k", [] { return std::string("old"); }, options_);
  }
};

TEST_F(SeparateLease, OneProcessRefreshesAndTheOthersReadOn) {
  clock_.advance(60s);
  Computing theirs(one_, "k", options_);
  EXPECT_TRUE(has(separate_key));
  EXPECT_EQ(other_.cache.get_or_set("k", mine, options_), "old");
  EXPECT_EQ(other_.cache.get("k"), "old");
  for (const EntryInfo& entry : other_.cache.scan("*")) EXPECT_EQ(entry.key, "k");
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(other_.cache.get_or_set("k", mine, options_), "theirs");
  EXPECT_FALSE(has(separate_key));
}

// As memcached, which has no keys with blanks; the key of a lease is none.
TEST_F(SeparateLease, AStoreWithStrictKeysHasIt) {
  Cache& strict = one_.registry["strict"];
  EXPECT_EQ(strict.get_or_set(
                "s", [] { return std::string("old"); }, options_),
            "old");
  clock_.advance(60s);
  EXPECT_EQ(strict.get_or_set("s", mine, options_), "mine");
  EXPECT_THAT(take_warnings(), IsEmpty());
}

TEST_F(SeparateLease, ARefreshInTheBackgroundTakesIt) {
  clock_.advance(60s);
  const auto refresh = [&](Process& process) {
    return process.cache.get_or_set("k", in_background(mine), options_);
  };
  EXPECT_EQ(refresh(one_), "old");
  EXPECT_EQ(refresh(other_), "old");
  EXPECT_FALSE(has(separate_key)) << "the job does it";
  executor_->run_all();
  EXPECT_EQ(one_.cache.statistics().refreshes + other_.cache.statistics().refreshes, 1U);
  EXPECT_EQ(refresh(one_), "mine");
  EXPECT_FALSE(has(separate_key));
}

TEST_F(SeparateLease, AStaleValueIsReplacedByOneProcess) {
  clock_.advance(101s);
  Computing theirs(one_, "k", options_);
  auto waiting = std::async(std::launch::async, [&] {
    return other_.registry["default"].get_or_set("k", mine, options_);
  });
  EXPECT_EQ(waiting.wait_for(20ms), std::future_status::timeout);
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(waiting.get(), "theirs");
  EXPECT_FALSE(has(separate_key));
}

TEST_F(SeparateLease, AStaleValueServesAllProcessesWhenOneFails) {
  clock_.advance(101s);
  Computing theirs(one_, "k", options_);
  auto waiting = std::async(std::launch::async, [&] {
    return other_.registry["default"].get_or_set("k", fails, options_);
  });
  EXPECT_EQ(waiting.wait_for(20ms), std::future_status::timeout);
  EXPECT_EQ(theirs.fails_later().get(), "old");
  EXPECT_EQ(waiting.get(), "old");
  EXPECT_EQ(other_.registry["default"].statistics().loads, 0U);
  EXPECT_FALSE(has(separate_key));
}

TEST_F(SeparateLease, ThreadsOfOneProcessDoNotFailOneAfterTheOther) {
  clock_.advance(101s);
  Computing theirs(one_, "k", options_);
  std::vector<std::future<std::string>> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.push_back(std::async(std::launch::async, [&] {
      return other_.registry["default"].get_or_set("k", fails, options_);
    }));
  }
  while (other_.cache.statistics().waits < 4) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(theirs.fails_later().get(), "old");
  for (auto& one : waiting) EXPECT_EQ(one.get(), "old");
  EXPECT_EQ(other_.cache.statistics().loads, 0U);
}

TEST_F(SeparateLease, ARefreshOfAStoreThatRefusesWritesThrowsNothing) {
  clock_.advance(60s);
  Config config = Process::config({});
  config.caches["default"].on_error = {.read = ErrorPolicy::throw_error,
                                       .write = ErrorPolicy::throw_error};
  CacheRegistry registry(config, environment());
  testing::Chaos::named("default", clock_)
      ->set({.fail = 1, .kind = BackendError::Kind::storage, .only = testing::ChaosScope::writes});
  EXPECT_EQ(registry["default"].get_or_set("k", mine, options_), "old");
  testing::Chaos::named("default", clock_)->off();
}

TEST_F(SeparateLease, AnErasureOfAnotherProcessWins) {
  clock_.advance(60s);
  Computing theirs(one_, "k", options_);
  other_.cache.erase("k");
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_FALSE(other_.cache.get("k"));
}

TEST_F(SeparateLease, HasAHashedKeyIfTheKeyIsLong) {
  const std::string key(240, 'x');
  one_.cache.get_or_set(key, mine, options_);
  clock_.advance(60s);
  EXPECT_EQ(one_.cache.get_or_set(key, mine, options_), "mine");
  EXPECT_THAT(take_warnings(), IsEmpty());
}

// --- Where it waits, and where it does not. ---

TEST_F(Lease, AComputationInsideAnotherNeverWaits) {
  Computing theirs(one_, "part", leased_);
  const auto whole = other_.cache.get_or_set(
      "whole", [&] { return other_.cache.get_or_set("part", mine, leased_); }, leased_);
  EXPECT_EQ(whole, "mine");
  EXPECT_EQ(other_.cache.get("part"), "mine");
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(other_.cache.get("part"), "mine");
}

TEST_F(Lease, AnErasureWinsAgainstAComputationInsideAnother) {
  Computing theirs(one_, "part", leased_);
  const auto part = [&] {
    return other_.cache.get_or_set(
        "part",
        [&] {
          one_.registry["default"].erase("part");
          return mine();
        },
        leased_);
  };
  EXPECT_EQ(other_.cache.get_or_set("whole", part, leased_), "mine");
  EXPECT_FALSE(other_.cache.get("part"));
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_FALSE(other_.cache.get("part"));
}

TEST_F(Lease, AJobOfAnotherProcessIsWaitedForUpToTheLimit) {
  Process process(*this, {});
  const LoadOptions options{.hard_limit = 5ms, .lease = 10s};
  const auto ask = [&](Process& whose) {
    return whose.registry["default"].get_or_set("k", in_background(mine), options);
  };
  Computing theirs(one_, "k", leased_);
  EXPECT_THROW(ask(process), TimeoutError);
  auto job = std::async(std::launch::async, [&] { executor_->run_all(); });
  EXPECT_EQ(job.wait_for(20ms), std::future_status::timeout);
  EXPECT_EQ(theirs.ends(), "theirs");
  job.get();
  EXPECT_EQ(ask(process), "theirs");
}

TEST_F(Lease, AStoreThatFailsIsNotWaitedFor) {
  testing::Chaos::named("default", clock_)->set({.fail = 1});
  EXPECT_EQ(one_.cache.get_or_set("k", mine, leased_), "mine");
  testing::Chaos::named("default", clock_)->off();
}

// --- Stores. ---

TEST_F(Lease, AStoreThatCannotCompareIsRefused) {
  EXPECT_THAT(
      message_of<BackendError>([&] { one_.registry["bare"].get_or_set("k", mine, leased_); }),
      HasSubstr("cannot compare values"));
  Config config = Process::config({});
  config.caches["bare"].load.lease = 10s;
  EXPECT_THAT(message_of<ConfigError>([&] { CacheRegistry(config, environment()); }),
              HasSubstr("caches.bare.load.lease: needs a store that can compare values"));
}

TEST_F(Lease, APrivateStoreAcceptsItAndSaysSo) {
  Cache& cache = one_.registry["private"];
  EXPECT_EQ(cache.get_or_set("k",
                             [&] {
                               bool found = cache.backend().get(cache.final_key("k"),
                                                                [](std::string_view) {});
                               return found ? "leased" : "nothing is stored";
                             }),
            "nothing is stored");
  for (const CacheInfo& info : one_.registry.describe()) {
    EXPECT_EQ(info.is_private, info.alias == "private");
    EXPECT_EQ(info.load.lease, info.alias == "private" ? Span(10s) : Span());
  }
}

TEST_F(Lease, WhatCannotBeIsRefused) {
  EXPECT_THAT(message_of<ValueError>([&] { one_.cache.get_or_set("k", mine, {.lease = 0s}); }),
              HasSubstr("lease must be longer than zero"));
}

// --- Several keys. ---

class LeaseMany : public Lease {
 protected:
  using Values = std::map<std::string, std::string, std::less<>>;

  // Computes "<who> <key>" for each key.
  static auto by(std::string who) {
    return [who = std::move(who)](std::span<const std::string> keys) {
      std::vector<std::string> values;
      for (const std::string& key : keys) values.push_back(who + ' ' + key);
      return values;
    };
  }
  Values ask(Process& process, std::vector<std::string> keys, const LoadOptions& options) {
    const auto found =
        process.registry["default"].get_or_set_many<std::string>(keys, by("mine"), options);
    Values values;
    for (std::size_t i = 0; i < keys.size(); ++i) values.emplace(keys[i], found[i].value());
    return values;
  }
};

TEST_F(LeaseMany, OnlyWhatNoOtherProcessComputesIsComputed) {
  Computing theirs(one_, "k", leased_);
  auto waiting = std::async(std::launch::async, [&] { return ask(other_, {"k", "l"}, leased_); });
  EXPECT_EQ(waiting.wait_for(20ms), std::future_status::timeout);
  EXPECT_EQ(one_.cache.get("l"), "mine l") << "before it waits";
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(waiting.get(), (Values{{"k", "theirs"}, {"l", "mine l"}}));
  EXPECT_EQ(other_.registry["default"].statistics().waits, 1U);
}

TEST_F(LeaseMany, ProcessesWithKeysInOppositeOrderDoNotWaitForEachOther) {
  Process third(*this, {});
  for (int round = 0; round < 20; ++round) {
    one_.cache.clear();
    auto a = std::async(std::launch::async, [&] { return ask(one_, {"a", "b", "c"}, leased_); });
    auto b = std::async(std::launch::async, [&] { return ask(other_, {"c", "b", "a"}, leased_); });
    auto c = std::async(std::launch::async, [&] { return ask(third, {"b"}, leased_); });
    const Values values = a.get();
    EXPECT_EQ(values.size(), 3U);
    EXPECT_EQ(values, b.get());
    EXPECT_EQ(c.get().size(), 1U);
  }
}

TEST_F(LeaseMany, AFailureOfAnotherProcessIsMadeUpFor) {
  Computing theirs(one_, "k", leased_);
  auto waiting = std::async(std::launch::async, [&] { return ask(other_, {"k"}, leased_); });
  theirs.fails();
  EXPECT_EQ(waiting.get(), (Values{{"k", "mine k"}}));
  EXPECT_EQ(one_.cache.get("k"), "mine k");
}

TEST_F(LeaseMany, WritesOfAnotherProcessWin) {
  const auto computed = [&](auto&& write, const LoadOptions& options) {
    one_.cache.get_or_set_many<std::string>(
        {"k", "l"},
        [&](std::span<const std::string> keys) {
          write();
          return by("mine")(keys);
        },
        options);
  };
  computed([&] { other_.cache.erase("k"); }, leased_);
  EXPECT_FALSE(one_.cache.get("k"));
  EXPECT_EQ(one_.cache.get("l"), "mine l");
  one_.cache.clear();
  computed([&] { other_.cache.set("k", "set"); }, leased_);
  EXPECT_EQ(one_.cache.get("k"), "set");
  EXPECT_THAT(take_warnings(), IsEmpty());
}

TEST_F(LeaseMany, AFunctionThatThrowsGivesThemBack) {
  const auto throws = [](std::span<const std::string>) -> std::vector<std::string> {
    throw std::runtime_error("the origin is down");
  };
  EXPECT_THROW(one_.cache.get_or_set_many<std::string>({"k", "l"}, throws, leased_), PartialLoad);
  EXPECT_FALSE(has(final_key));
  EXPECT_EQ(ask(other_, {"k", "l"}, leased_).size(), 2U);
}

TEST_F(LeaseMany, LeasesAreGivenBackIfTheStoreFailsForAnotherKey) {
  Config config = Process::config({});
  config.caches["default"].on_error = {.read = ErrorPolicy::miss,
                                       .write = ErrorPolicy::throw_error};
  CacheRegistry registry(config, environment());
  const auto chaos = testing::Chaos::named("default", clock_);
  // The lease of "b" fails, and so does giving back what the failure leaves.
  chaos->set({.only = testing::ChaosScope::writes,
              .script = {{.act = testing::ChaosAct::pass}, {.act = testing::ChaosAct::fail}}});
  EXPECT_THROW(registry["default"].get_or_set_many<std::string>({"a", "b"}, by("mine"), leased_),
               BackendError);
  chaos->off();
  clock_.advance(11s);  // after a failure nothing more is sent: it ends by itself
  EXPECT_FALSE(has(":1:a"));
  EXPECT_EQ(ask(one_, {"a", "b"}, leased_).size(), 2U);
}

TEST_F(LeaseMany, NothingDoesNotTakeAwayTheLeaseOfAnotherProcess) {
  Computing theirs(one_, "k", leased_);
  const auto none = [](std::span<const std::string> keys) {
    return std::vector<std::optional<std::string>>(keys.size());
  };
  EXPECT_FALSE(other_.cache.get_or_set_many<std::string>({"k"}, none)[0]);
  EXPECT_TRUE(has(final_key));
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(other_.cache.get("k"), "theirs");
}

class SeparateLeaseOfMany : public LeaseMany {
 protected:
  const LoadOptions options_{
      .timeout = 100s, .refresh_after = 0.5, .stale_if_error = 1h, .lease = 10s};
  SeparateLeaseOfMany() { ask(one_, {"k"}, options_); }
};

TEST_F(SeparateLeaseOfMany, ARefreshIsLeftToTheOtherProcess) {
  clock_.advance(60s);
  Computing theirs(one_, "k", options_);
  EXPECT_EQ(ask(other_, {"k"}, options_), (Values{{"k", "mine k"}}));
  EXPECT_EQ(theirs.ends(), "theirs");
  EXPECT_EQ(ask(other_, {"k"}, options_), (Values{{"k", "theirs"}}));
  clock_.advance(60s);
  EXPECT_EQ(ask(other_, {"k"}, options_), (Values{{"k", "mine k"}}));
  EXPECT_FALSE(has(separate_key));
}

TEST_F(SeparateLeaseOfMany, AnErasureDuringARefreshWins) {
  clock_.advance(60s);
  one_.cache.get_or_set_many<std::string>(
      {"k"},
      [&](std::span<const std::string> keys) {
        other_.cache.erase("k");
        return by("new")(keys);
      },
      options_);
  EXPECT_FALSE(one_.cache.get("k"));
}

TEST_F(SeparateLeaseOfMany, AnErasedStaleValueIsNotReturned) {
  clock_.advance(101s);
  Computing theirs(one_, "k", options_);
  auto waiting = std::async(std::launch::async, [&] { return ask(other_, {"k"}, options_); });
  while (other_.cache.statistics().waits == 0) std::this_thread::sleep_for(1ms);
  one_.registry["default"].erase("k");
  EXPECT_EQ(waiting.get(), (Values{{"k", "mine k"}})) << "computed again: that has the same text";
  EXPECT_EQ(other_.registry["default"].statistics().loads, 1U);
  EXPECT_EQ(theirs.ends(), "theirs");
}

TEST_F(SeparateLeaseOfMany, AStaleValueServesAllProcessesWhenOneFails) {
  clock_.advance(101s);
  Computing theirs(one_, "k", options_);
  auto waiting = std::async(std::launch::async, [&] { return ask(other_, {"k"}, options_); });
  EXPECT_EQ(waiting.wait_for(20ms), std::future_status::timeout);
  EXPECT_EQ(theirs.fails_later().get(), "mine k");
  EXPECT_EQ(waiting.get(), (Values{{"k", "mine k"}}));
  EXPECT_EQ(other_.registry["default"].statistics().loads, 0U);
}

}  // namespace
}  // namespace polycache
