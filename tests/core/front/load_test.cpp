// get_or_set() with LoadOptions, on locmem with a clock and an executor that the test moves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/manual_executor.h"
#include "support/message_of.h"

namespace polycache {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;
using namespace std::chrono_literals;

class LoadTest : public ::testing::Test {
 protected:
  void configure(LoadPolicy policy) {
    registry_ = std::make_unique<CacheRegistry>(
        Config{.caches = {{"default", {.backend = "locmem", .timeout = 10min, .load = policy}}}},
        Environment{.clock = &clock_,
                    .on_warning =
                        [this](const Warning& warning) {
                          const std::lock_guard lock(mutex_);
                          warnings_.emplace_back(warning.message);
                        },
                    .executor = executor_,
                    .linked_plugins = {&locmem::plugin}});
  }
  Cache& cache() {
    if (!registry_) configure({});
    return (*registry_)["default"];
  }
  std::vector<std::string> take_warnings() {
    const std::lock_guard lock(mutex_);
    return std::exchange(warnings_, {});
  }
  CacheStatistics counts() { return cache().statistics(); }
  // A computation that counts.
  std::function<int()> next() {
    return [this] { return ++computed_; };
  }
  auto background() {
    return in_background([this] { return ++computed_; });
  }
  static int fails() { throw std::runtime_error("the origin is down"); }

  testing::ManualClock clock_;
  std::shared_ptr<testing::ManualExecutor> executor_ = std::make_shared<testing::ManualExecutor>();
  std::mutex mutex_;
  std::vector<std::string> warnings_;
  std::unique_ptr<CacheRegistry> registry_;
  std::atomic<int> computed_{0};
};

// --- Refreshing. ---

TEST_F(LoadTest, AValueIsRefreshedOnceItIsOlderThanItsShareOfTheLifetime) {
  const LoadOptions options{.timeout = 100s, .refresh_after = 0.8};
  EXPECT_EQ(cache().get_or_set("k", next(), options), 1);
  clock_.advance(79s);
  EXPECT_EQ(cache().get_or_set("k", next(), options), 1);
  clock_.advance(2s);
  EXPECT_EQ(cache().get_or_set("k", next(), options), 2);
  clock_.advance(50s);
  EXPECT_EQ(cache().get_or_set("k", next(), options), 2) << "it has a lifetime of its own";
  EXPECT_EQ(cache().get<int>("k"), 2);
  EXPECT_EQ(counts().refreshes, 1U);
  EXPECT_EQ(counts().misses, 1U);
}

TEST_F(LoadTest, AValueIsRefreshedOnceItIsOlderThanADuration) {
  const LoadOptions options{.timeout = 100s, .refresh_after = 10s};
  EXPECT_EQ(cache().get_or_set("k", next(), options), 1);
  clock_.advance(11s);
  EXPECT_EQ(cache().get_or_set("k", next(), options), 2);
}

TEST_F(LoadTest, RefreshAfterDoesNothingForAPlainEntryOrOneThatNeverExpires) {
  cache().set("plain", 7, 100s);
  clock_.advance(99s);
  EXPECT_EQ(cache().get_or_set("plain", next(), {.refresh_after = 0.1}), 7);
  const LoadOptions for_ever{.timeout = never, .refresh_after = 10s};
  EXPECT_EQ(cache().get_or_set("k", next(), for_ever), 1);
  clock_.advance(1h);
  EXPECT_EQ(cache().get_or_set("k", next(), for_ever), 1);
}

TEST_F(LoadTest, InBackgroundNoReaderWaitsForARefresh) {
  const LoadOptions options{.timeout = 100s, .refresh_after = 0.5};
  EXPECT_EQ(cache().get_or_set("k", background(), options), 1);
  EXPECT_EQ(executor_->size(), 0U) << "the first value is computed where it was asked for";
  clock_.advance(60s);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cache().get_or_set("k", background(), options), 1);
  EXPECT_EQ(executor_->size(), 1U) << "one refresh for all readers";
  EXPECT_EQ(executor_->run_all(), 1U);
  EXPECT_EQ(cache().get_or_set("k", background(), options), 2);
  EXPECT_EQ(computed_, 2);
}

TEST_F(LoadTest, ARefreshThatTheExecutorRefusesIsTriedByALaterReader) {
  const LoadOptions options{.timeout = 100s, .refresh_after = 0.5};
  cache().get_or_set("k", background(), options);
  clock_.advance(60s);
  executor_->refuse(true);
  EXPECT_EQ(cache().get_or_set("k", background(), options), 1);
  EXPECT_EQ(counts().refused_jobs, 1U);
  executor_->refuse(false);
  EXPECT_EQ(cache().get_or_set("k", background(), options), 1);
  EXPECT_EQ(executor_->run_all(), 1U);
  EXPECT_EQ(cache().get_or_set("k", background(), options), 2);
}

TEST_F(LoadTest, ARefreshThatFailsKeepsTheValueAndBacksOff) {
  const LoadOptions options{.timeout = 100s, .refresh_after = 0.1};
  cache().get_or_set("k", next(), options);
  clock_.advance(20s);
  const auto failing = [this]() -> int {
    ++computed_;
    throw std::runtime_error("the origin is down");
  };
  const auto tries_after = [&](std::chrono::milliseconds time) {
    clock_.advance(time);
    const int before = computed_;
    EXPECT_EQ(cache().get_or_set("k", failing, options), 1);
    return computed_ - before;
  };
  EXPECT_EQ(tries_after(0s), 1);
  EXPECT_EQ(tries_after(0s), 0);
  EXPECT_EQ(tries_after(999ms), 0);
  EXPECT_EQ(tries_after(2ms), 1);
  EXPECT_EQ(tries_after(1s), 0) << "now 2 s";
  EXPECT_EQ(tries_after(1s), 1);
  EXPECT_THAT(take_warnings(),
              ::testing::ElementsAre(HasSubstr("the origin is down"), HasSubstr("its value stays"),
                                     HasSubstr("the origin is down")));
  EXPECT_EQ(counts().failed_loads, 3U);
  clock_.advance(5s);
  EXPECT_EQ(cache().get_or_set("k", next(), options), 5) << "it works again";
}

TEST_F(LoadTest, EarlyComputesAnewTheMoreOftenTheNearerTheEnd) {
  const LoadOptions options{.timeout = 100s, .early = 1e6};
  const auto slow = [this] {
    std::this_thread::sleep_for(2ms);
    return ++computed_;
  };
  cache().get_or_set("k", slow, options);
  int early = 0;
  for (int i = 0; i < 20; ++i) {
    clock_.advance(1s);
    const int before = computed_;
    cache().get_or_set("k", slow, options);
    early += computed_ - before;
  }
  EXPECT_GT(early, 0) << "2 ms times a million are 2000 s";
  cache().erase("k");
  cache().get_or_set("k", slow, {.timeout = 100s, .early = 1e-9});
  clock_.advance(90s);
  const int before = computed_;
  cache().get_or_set("k", slow, {.timeout = 100s, .early = 1e-9});
  EXPECT_EQ(computed_, before);
}

TEST_F(LoadTest, JitterShortensLifetimes) {
  int shorter = 0;
  for (int i = 0; i < 50; ++i) {
    const std::string key = "k" + std::to_string(i);
    cache().get_or_set(key, next(), {.timeout = 100s, .jitter = 0.5});
  }
  clock_.advance(49s);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(cache().contains("k" + std::to_string(i)));
  clock_.advance(26s);
  for (int i = 0; i < 50; ++i) shorter += cache().contains("k" + std::to_string(i)) ? 0 : 1;
  EXPECT_GT(shorter, 5);
  EXPECT_LT(shorter, 45);
}

// --- Stale values. ---

TEST_F(LoadTest, AStaleValueServesWhileTheComputationFails) {
  const LoadOptions options{.timeout = 10s, .stale_if_error = 1h};
  EXPECT_EQ(cache().get_or_set("k", next(), options), 1);
  clock_.advance(11s);
  EXPECT_FALSE(cache().get<int>("k")) << "get() does not accept it";
  EXPECT_FALSE(cache().contains("k"));
  EXPECT_EQ(cache().get_or_set("k", fails, options), 1);
  EXPECT_THAT(take_warnings(), ::testing::ElementsAre(HasSubstr("its stale value is returned")));
  EXPECT_EQ(counts().stale, 1U);
  EXPECT_EQ(cache().get_or_set("k", next(), options), 1) << "the throttle lets it stand for 30 s";
  EXPECT_EQ(computed_, 1);
  clock_.advance(30s);
  EXPECT_EQ(cache().get_or_set("k", next(), options), 2);
  EXPECT_TRUE(take_warnings().empty());
}

TEST_F(LoadTest, WithoutStaleIfErrorTheExceptionReachesTheCaller) {
  const LoadOptions options{.timeout = 10s, .stale_if_error = 1h};
  cache().get_or_set("k", next(), options);
  clock_.advance(11s);
  EXPECT_THROW(cache().get_or_set("k", fails, {.timeout = 10s}), std::runtime_error);
  EXPECT_THROW(cache().get_or_set("k", fails, {.timeout = 10s, .stale_if_error = off}),
               std::runtime_error);
  EXPECT_EQ(cache().get_or_set("k", fails, options), 1);
  clock_.advance(2h);
  EXPECT_THROW(cache().get_or_set("k", fails, options), std::runtime_error)
      << "the store has it no more";
}

TEST_F(LoadTest, FailSaysSoWithoutAnException) {
  const auto down = [](Load& load) -> Loaded<int> { return load.fail("it is down"); };
  EXPECT_THAT(message_of<LoadFailed>([&] { cache().get_or_set("k", down); }),
              HasSubstr("it is down"));
  const LoadOptions options{.timeout = 10s, .stale_if_error = 1h};
  cache().get_or_set("k", next(), options);
  clock_.advance(11s);
  EXPECT_EQ(cache().get_or_set("k", down, options), 1);
}

TEST_F(LoadTest, AComputationMayLookAtTheStaleValueAndKeepIt) {
  const LoadOptions options{.timeout = 10s, .stale_if_error = 1h};
  const auto unmodified = [](Load& load) -> Loaded<std::string> {
    if (!load.has_stale()) return std::string("first");
    EXPECT_EQ(load.stale(), "first");
    return load.not_modified();
  };
  EXPECT_EQ(cache().get_or_set("k", unmodified, options), "first");
  clock_.advance(11s);
  EXPECT_FALSE(cache().get("k"));
  EXPECT_EQ(cache().get_or_set("k", unmodified, options), "first");
  EXPECT_EQ(cache().get("k"), "first") << "for another lifetime";
  EXPECT_EQ(counts().unmodified_loads, 1U);
  const auto always = [](Load&) -> Loaded<std::string> { return NotModified{}; };
  EXPECT_THAT(message_of<CacheError>([&] { cache().get_or_set("other", always, options); }),
              HasSubstr("there is no older value"));
  EXPECT_THROW(cache().get_or_set(
                   "other", [](Load& load) -> Loaded<std::string> { return load.not_modified(); }),
               CacheError);
}

TEST_F(LoadTest, ALoadSetsLifetimeTagsAndWhetherToStore) {
  cache().get_or_set("short", [](Load& load) {
    load.timeout(5s);
    return 1;
  });
  clock_.advance(6s);
  EXPECT_FALSE(cache().contains("short"));
  cache().get_or_set("tagged", [](Load& load) {
    load.tag("posts");
    return 1;
  });
  EXPECT_EQ(cache().get<int>("tagged"), 1);
  cache().erase_tag("posts");
  EXPECT_FALSE(cache().get<int>("tagged"));
  EXPECT_EQ(cache().get_or_set("not stored",
                               [](Load& load) {
                                 load.do_not_store();
                                 return 5;
                               }),
            5);
  EXPECT_FALSE(cache().contains("not stored"));
}

TEST_F(LoadTest, ATagThatIsErasedDuringTheComputationInvalidatesItsEntry) {
  cache().get_or_set("k", [&](Load& load) {
    load.tag("posts");
    cache().erase_tag("posts");
    return 1;
  });
  EXPECT_FALSE(cache().contains("k"));
}

// --- "There is no such thing." ---

TEST_F(LoadTest, AnEmptyOptionalIsRememberedForTheNegativeTimeout) {
  int asked = 0;
  const auto nobody = [&]() -> std::optional<std::string> {
    ++asked;
    return std::nullopt;
  };
  EXPECT_EQ(cache().get_or_set("user:1", nobody), std::nullopt);
  EXPECT_EQ(cache().get_or_set("user:1", nobody), std::nullopt);
  EXPECT_EQ(asked, 2) << "without negative_timeout it is not kept";
  const LoadOptions options{.timeout = 1h, .negative_timeout = 10s};
  EXPECT_EQ(cache().get_or_set("user:1", nobody, options), std::nullopt);
  EXPECT_EQ(cache().get_or_set("user:1", nobody, options), std::nullopt);
  EXPECT_EQ(cache().get_or_set("user:1", nobody), std::nullopt);
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(counts().negative, 2U);
  EXPECT_FALSE(cache().contains("user:1"));
  EXPECT_FALSE(cache().get("user:1"));
  clock_.advance(11s);
  EXPECT_EQ(cache().get_or_set("user:1", nobody, options), std::nullopt);
  EXPECT_EQ(asked, 4);
}

TEST_F(LoadTest, TheEntryIsAValueNeverAnOptional) {
  const auto found = []() -> std::optional<std::string> { return "Ann"; };
  const std::optional<std::string> user = cache().get_or_set("user:1", found);
  EXPECT_EQ(user, "Ann");
  EXPECT_EQ(cache().get("user:1"), "Ann");
  EXPECT_EQ(cache().get_or_set("user:1", [] { return std::string("other"); }), "Ann");
}

TEST_F(LoadTest, AFunctionThatReturnsAPlainValueTakesNegativeAsAbsent) {
  const LoadOptions options{.negative_timeout = 10s};
  cache().get_or_set(
      "k", []() -> std::optional<int> { return std::nullopt; }, options);
  EXPECT_EQ(cache().get_or_set("k", [] { return 5; }), 5);
  EXPECT_EQ(cache().get<int>("k"), 5);
}

TEST_F(LoadTest, ARefreshThatFindsNothingRemovesTheValue) {
  const LoadOptions options{.timeout = 100s, .refresh_after = 0.5};
  cache().get_or_set(
      "k", []() -> std::optional<int> { return 1; }, options);
  clock_.advance(60s);
  EXPECT_EQ(cache().get_or_set(
                "k", []() -> std::optional<int> { return std::nullopt; }, options),
            std::nullopt);
  EXPECT_FALSE(cache().contains("k"));
}

// --- Limits. ---

TEST_F(LoadTest, AfterTheSoftLimitTheCallerGetsTheStaleValueAndTheResultIsStored) {
  const LoadOptions options{.timeout = 10s, .stale_if_error = 1h, .soft_limit = 5ms};
  EXPECT_EQ(cache().get_or_set("k", background(), options), 1);
  clock_.advance(11s);
  EXPECT_EQ(cache().get_or_set("k", background(), options), 1) << "nobody runs the job";
  EXPECT_EQ(counts().late_loads, 1U);
  EXPECT_EQ(counts().stale, 1U);
  EXPECT_EQ(executor_->run_all(), 1U);
  EXPECT_EQ(cache().get<int>("k"), 2);
}

TEST_F(LoadTest, AfterTheHardLimitTheCallerGetsATimeoutError) {
  const LoadOptions options{.timeout = 10s, .hard_limit = 5ms};
  EXPECT_THAT(message_of<TimeoutError>([&] { cache().get_or_set("k", background(), options); }),
              HasSubstr("hard_limit of 5 ms"));
  EXPECT_EQ(executor_->run_all(), 1U);
  EXPECT_EQ(cache().get<int>("k"), 1);
  EXPECT_EQ(cache().get_or_set("k", background(), options), 1);
}

TEST_F(LoadTest, WithinItsLimitACallGetsTheResultOfTheJob) {
  const LoadOptions options{.timeout = 10s, .hard_limit = 1h};
  static_cast<void>(cache());
  auto value = std::async(std::launch::async, [&] {
    return (*registry_)["default"].get_or_set("k", background(), options);
  });
  while (executor_->size() == 0) std::this_thread::yield();
  executor_->run_all();
  EXPECT_EQ(value.get(), 1);
}

TEST_F(LoadTest, WithinItsLimitACallGetsTheExceptionOfTheJob) {
  const LoadOptions options{.timeout = 10s, .hard_limit = 1h};
  static_cast<void>(cache());
  auto value = std::async(std::launch::async, [&] {
    return (*registry_)["default"].get_or_set("k", in_background(fails), options);
  });
  while (executor_->size() == 0) std::this_thread::yield();
  executor_->run_all();
  EXPECT_THAT(message_of<std::runtime_error>([&] { value.get(); }), HasSubstr("origin is down"));
}

TEST_F(LoadTest, WithoutRoomInTheExecutorTheComputationRunsInPlace) {
  executor_->refuse(true);
  EXPECT_EQ(cache().get_or_set("k", background(), {.hard_limit = 5ms}), 1);
  EXPECT_EQ(cache().get<int>("k"), 1);
}

TEST_F(LoadTest, AJobThatIsDroppedIsComputedInPlace) {
  static_cast<void>(cache());
  auto value = std::async(std::launch::async, [&] {
    return (*registry_)["default"].get_or_set("k", background(), {.hard_limit = 1h});
  });
  while (executor_->size() == 0) std::this_thread::yield();
  executor_->clear();
  EXPECT_EQ(value.get(), 1);
}

TEST_F(LoadTest, InsideAComputationNothingWaitsForTheExecutor) {
  const LoadOptions limited{.hard_limit = 1h};
  const int value = cache().get_or_set("outer", [&] {
    return 1 + (*registry_)["default"].get_or_set("inner", background(), limited);
  });
  EXPECT_EQ(value, 2);
  EXPECT_EQ(executor_->size(), 0U);
}

TEST_F(LoadTest, ANamedBackgroundFunctionCanBeGivenAgain) {
  const auto text = in_background([text = std::string(40, 'x')] { return text; });
  const LoadOptions options{.hard_limit = 1ms};
  EXPECT_THROW(cache().get_or_set("a", text, options), TimeoutError);
  EXPECT_THROW(cache().get_or_set("b", text, options), TimeoutError);
  executor_->run_all();
  EXPECT_EQ(cache().get("a"), std::string(40, 'x'));
  EXPECT_EQ(cache().get("b"), std::string(40, 'x'));
}

TEST_F(LoadTest, AnOuterEntryCarriesTheTagsOfAValueThatAJobComputed) {
  static_cast<void>(cache());
  auto page = std::async(std::launch::async, [&] {
    Cache& mine = (*registry_)["default"];
    const TagRecorder recorder;
    mine.get_or_set("part", background(), {.tags = {"t"}, .hard_limit = 1h});
    return recorder.names();
  });
  while (executor_->size() == 0) std::this_thread::yield();
  executor_->run_all();
  EXPECT_EQ(page.get(), std::vector<std::string>{"t"});
}

TEST_F(LoadTest, AJobThatFailsAfterItsCallerWentIsReported) {
  EXPECT_THROW(cache().get_or_set("k", in_background(fails), {.hard_limit = 1ms}), TimeoutError);
  executor_->run_all();
  EXPECT_THAT(take_warnings(), ::testing::ElementsAre(HasSubstr("failed in the background")));
}

TEST_F(LoadTest, AfterGetOrSetManyTheThreadIsInsideNoComputation) {
  cache().get_or_set_many<int>({"a", "b", "c"}, [](std::span<const std::string> keys) {
    return std::vector<int>(keys.size(), 1);
  });
  const std::vector<std::string> reused(1000, std::string(40, 'x'));
  EXPECT_EQ(cache().get_or_set("d", [] { return 1; }), 1);
  EXPECT_EQ(reused.size(), 1000U);
}

TEST_F(LoadTest, NothingReplacesAStaleValue) {
  const LoadOptions options{.timeout = 1s, .stale_if_error = 1h, .throttle = off};
  cache().get_or_set("k", next(), options);
  clock_.advance(2s);
  EXPECT_FALSE(cache().get_or_set(
      "k", []() -> std::optional<int> { return {}; }, options));
  EXPECT_EQ(cache().get_entry<int>("k").status, EntryStatus::miss);
  EXPECT_THROW(cache().get_or_set("k", fails, options), std::runtime_error);
}

TEST_F(LoadTest, EveryReadOfGetOrSetManyCountsOnce) {
  const LoadOptions options{.timeout = 1s, .stale_if_error = 1h};
  cache().get_or_set("stale", next(), options);
  cache().set("live", 1);
  clock_.advance(2s);
  registry_->reset_statistics();
  const auto down = [](std::span<const std::string>) -> std::vector<int> {
    throw std::runtime_error("the origin is down");
  };
  cache().get_or_set_many<int>({"stale", "live"}, down, options);
  EXPECT_EQ(counts().hits, 1U);
  EXPECT_EQ(counts().stale, 1U);
  EXPECT_EQ(counts().misses, 0U);
}

// --- Writes meanwhile. ---

TEST_F(LoadTest, AnErasureDuringTheComputationWins) {
  const auto computed = cache().get_or_set("k", [&] {
    cache().erase("k");
    return 1;
  });
  EXPECT_EQ(computed, 1) << "it is returned";
  EXPECT_FALSE(cache().contains("k")) << "and not kept";
  EXPECT_EQ(counts().discarded_loads, 1U);
  for (const auto& write : std::vector<std::function<void()>>{
           [&] { cache().clear(); }, [&] { cache().pop("k"); }, [&] { cache().erase_many({"k"}); },
           [&] { cache().set("k", 0, 0s); }, [&] { cache().erase_pattern("*"); },
           [&] { cache().touch("k", 0s); }, [&] { cache().get("k", {.touch = 0s}); },
           [&] { cache().pop_entry<int>("k"); }}) {
    cache().get_or_set("k", [&] {
      write();
      return 1;
    });
    EXPECT_FALSE(cache().contains("k"));
  }
}

TEST_F(LoadTest, AWriteDuringTheComputationWins) {
  cache().get_or_set("k", [&] {
    cache().set("k", 7);
    return 1;
  });
  EXPECT_EQ(cache().get<int>("k"), 7);
  const LoadOptions options{.timeout = 100s, .refresh_after = 0.5};
  cache().erase("k");
  cache().get_or_set("k", next(), options);
  clock_.advance(60s);
  cache().get_or_set("k", background(), options);
  cache().set("k", 99);
  executor_->run_all();
  EXPECT_EQ(cache().get<int>("k"), 99);
}

TEST_F(LoadTest, WhoAsksAfterAnErasureGetsAValueThatWasComputedAfterIt) {
  std::promise<void> started;
  std::promise<void> erased;
  static_cast<void>(cache());
  auto older = std::async(std::launch::async, [&] {
    return (*registry_)["default"].get_or_set("k", [&] {
      started.set_value();
      erased.get_future().wait();
      return 1;
    });
  });
  started.get_future().wait();
  cache().erase("k");
  EXPECT_EQ(cache().get_or_set("k", [] { return 2; }), 2) << "it does not wait for the older one";
  erased.set_value();
  EXPECT_EQ(older.get(), 1);
  EXPECT_EQ(cache().get<int>("k"), 2);
}

// --- Options. ---

TEST_F(LoadTest, TheAliasSaysWhatACallDoesNot) {
  configure({.refresh_after = 0.5, .stale_if_error = 1h});
  EXPECT_EQ(cache().get_or_set("k", next(), 100s), 1);
  clock_.advance(60s);
  EXPECT_EQ(cache().get_or_set("k", next(), {.timeout = 100s, .refresh_after = off}), 1);
  EXPECT_EQ(cache().get_or_set("k", next(), 100s), 2);
  clock_.advance(200s);
  EXPECT_EQ(cache().get_or_set("k", fails, 100s), 2);
  take_warnings();
  cache().set("plain", 1);
  EXPECT_EQ(cache().get<int>("plain"), 1);
}

TEST_F(LoadTest, APartialLoadSaysHowManyKeysHaveNoValue) {
  cache().set("a", 1);
  const auto throws = [](std::span<const std::string>) -> std::vector<int> {
    throw std::runtime_error("the origin is down");
  };
  EXPECT_THAT(message_of<PartialLoad>([&] {
                cache().get_or_set_many<int>({"a", "b", "c"}, throws);
              }),
              AllOf(HasSubstr("no value for 2 of 3 keys (\"b\", \"c\"): "),
                    HasSubstr("the origin is down")));
  const auto too_few = [](std::span<const std::string>) { return std::vector<int>{1}; };
  EXPECT_THAT(message_of<PartialLoad>([&] {
                cache().get_or_set_many<int>({"b", "c", "d", "e"}, too_few);
              }),
              AllOf(HasSubstr("(\"b\", \"c\", \"d\", ...): "), HasSubstr("1 values for 4 keys")));
}

// Durations are stored in milliseconds and compared in nanoseconds.
TEST_F(LoadTest, ADurationWithoutAnEndDoesNotOverflow) {
  CacheRegistry registry(
      {.caches = {{"default", {.backend = "locmem"}}}},
      {.clock = &clock_, .on_warning = [](auto&) {}, .linked_plugins = {&locmem::plugin}});
  Cache& real = registry["default"];
  constexpr auto endless = std::chrono::hours::max();
  const LoadOptions options{.timeout = 10s,
                            .refresh_after = endless,
                            .stale_if_error = endless,
                            .throttle = endless,
                            .hard_limit = endless};
  EXPECT_EQ(real.get_or_set("k", in_background([] { return 1; }), options), 1);
  clock_.advance(20s);
  const auto down = []() -> int { throw std::runtime_error("the origin is down"); };
  EXPECT_EQ(real.get_or_set("k", in_background(down), options), 1);
  clock_.advance(24h * 365);
  int calls = 0;
  const auto counts = [&] { return ++calls; };
  EXPECT_EQ(real.get_or_set("k", counts,
                            {.timeout = 10s, .stale_if_error = endless, .throttle = endless}),
            1);
  EXPECT_EQ(calls, 0) << "the throttle still holds";
}

TEST_F(LoadTest, JitterNeverTakesMoreThanHalfALifetime) {
  for (int i = 0; i < 200; ++i) {
    const std::string key = "k" + std::to_string(i);
    cache().get_or_set(key, [] { return 1; }, {.timeout = 100s, .jitter = 1h});
    ASSERT_GE(cache().get_entry<int>(key).left, 50s);
  }
}

TEST_F(LoadTest, ALoadedValueIsMadeOfWhatConvertsToIt) {
  EXPECT_EQ(cache().get_or_set("k", [](Load&) -> Loaded<std::string> { return "text"; }), "text");
  EXPECT_EQ(cache().get_or_set("d", []() -> Loaded<double> { return 1; }), 1.0);
  EXPECT_EQ(cache().get_or_set("n", []() -> Loaded<std::string> { return std::nullopt; }),
            std::nullopt);
}

TEST_F(LoadTest, TheAliasOfAFileSaysIt) {
  const Config config = Config::from_json(R"({"caches": {"default": {"backend": "locmem", "load": {
      "refresh_after": 0.8, "stale_if_error": "1h", "throttle": 10, "jitter": "5s",
      "soft_limit": "100ms", "hard_limit": "2s", "negative_timeout": "1m",
      "lease": "5s"}}}})");
  const LoadPolicy& load = config.caches.at("default").load;
  EXPECT_EQ(load.refresh_after, Age(0.8));
  EXPECT_EQ(load.stale_if_error, Span(1h));
  EXPECT_EQ(load.throttle, Span(10s));
  EXPECT_EQ(load.jitter, Age(5s));
  EXPECT_EQ(load.soft_limit, Span(100ms));
  EXPECT_EQ(load.hard_limit, Span(2s));
  EXPECT_EQ(load.negative_timeout, Timeout(1min));
  EXPECT_EQ(load.lease, Span(5s));
  const auto lease = [](const std::string& value) {
    return Config::from_json(R"({"caches": {"default": {"backend": "locmem", "load": {"lease": )" +
                             value + "}}}}")
        .caches.at("default")
        .load.lease;
  };
  EXPECT_EQ(lease("true"), Span(10s));
  EXPECT_EQ(lease("\"true\""), Span(10s));
  EXPECT_EQ(lease("false"), Span(off));
}

TEST_F(LoadTest, WrongMembersOfAFileAreNamed) {
  const auto problem = [](const std::string& load) {
    return message_of<ConfigError>([&] {
      const CacheRegistry registry(
          Config::from_json(R"({"caches": {"default": {"backend": "locmem", "load": )" + load +
                            "}}}"),
          {.linked_plugins = {&locmem::plugin}});
    });
  };
  EXPECT_THAT(problem("1"), HasSubstr("caches.default.load"));
  EXPECT_THAT(problem(R"({"refresh_aftr": 1})"), HasSubstr("did you mean \"refresh_after\"?"));
  EXPECT_THAT(problem(R"({"x": 1})"), HasSubstr("known members: \"refresh_after\", "));
  EXPECT_THAT(problem(R"({"refresh_after": true})"), HasSubstr("a share of the lifetime"));
  EXPECT_THAT(problem(R"({"refresh_after": 0.0})"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(problem(R"({"refresh_after": 1.0})"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(problem(R"({"stale_if_error": "soon"})"), HasSubstr("got \"soon\""));
  EXPECT_THAT(problem(R"({"early": 1, "refresh_after": 0.8})"), HasSubstr("exclude each other"));
  EXPECT_THAT(problem(R"({"soft_limit": "2s", "hard_limit": "1s"})"),
              HasSubstr("caches.default.load.soft_limit"));
  EXPECT_THAT(problem(R"({"lease": 0})"), HasSubstr("caches.default.load.lease"));
  EXPECT_THAT(problem(R"({"lease": "long"})"), HasSubstr("true or false, got \"long\""));
  EXPECT_THAT(problem(R"({"negative_timeout": -1})"), HasSubstr("must not be negative"));
}

TEST_F(LoadTest, OptionsThatContradictEachOtherAreRefused) {
  const auto problem = [this](const LoadOptions& options) {
    return message_of<ValueError>([&] { cache().get_or_set("k", background(), options); });
  };
  EXPECT_THAT(problem({.refresh_after = 1.0}), HasSubstr("refresh_after must be a share between"));
  EXPECT_THAT(problem({.refresh_after = -0.5}), HasSubstr("get_or_set of the key \":1:k\""));
  EXPECT_THAT(problem({.timeout = never, .refresh_after = 0.5}), HasSubstr("never ends"));
  EXPECT_THAT(problem({.refresh_after = 0s}), HasSubstr("longer than zero"));
  EXPECT_THAT(problem({.throttle = 1s}), HasSubstr("needs stale_if_error"));
  EXPECT_THAT(problem({.refresh_after = 0.5, .early = 1}), HasSubstr("exclude each other"));
  EXPECT_THAT(problem({.early = -1}), HasSubstr("early must be a number"));
  EXPECT_THAT(problem({.soft_limit = 2s, .hard_limit = 1s}), HasSubstr("shorter than hard_limit"));
  EXPECT_THAT(problem({.soft_limit = 1s, .hard_limit = 1s}), HasSubstr("shorter than hard_limit"));
  EXPECT_THAT(message_of<ValueError>([&] { cache().get_or_set("k", next(), {.hard_limit = 1s}); }),
              HasSubstr("in_background(f)"));
  EXPECT_THAT(message_of<ValueError>([&] {
                cache().get_or_set_many<int>(
                    {"k"}, [](std::span<const std::string>) { return std::vector<int>{1}; },
                    {.hard_limit = 1s});
              }),
              HasSubstr("runs where it was called"));
  EXPECT_EQ(computed_, 0);
  configure({.hard_limit = 1ms});
  EXPECT_EQ(cache().get_or_set("k", next()), 1) << "limits of the alias are ignored here";
}

TEST_F(LoadTest, ThreadsThatMeetGetOneValueWhateverTheOptions) {
  for (const bool negative : {false, true}) {
    cache().clear();
    std::atomic<int> calls{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 16; ++i) {
      threads.emplace_back([&] {
        const auto value = (*registry_)["default"].get_or_set(
            "k",
            [&]() -> std::optional<int> {
              ++calls;
              std::this_thread::sleep_for(20ms);
              return negative ? std::nullopt : std::optional<int>(7);
            },
            {.stale_if_error = 1h, .negative_timeout = 1min});
        EXPECT_EQ(value, negative ? std::nullopt : std::optional<int>(7));
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(calls, 1);
  }
}

}  // namespace
}  // namespace polycache
