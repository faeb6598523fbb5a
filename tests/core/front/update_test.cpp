// Cache::update(), on the simplest store with a clock that the test moves. What it needs of a store
// is in the conformance suite.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

using Old = std::optional<int>;

int one_more(Old old) { return old.value_or(0) + 1; }

class Update : public ::testing::Test {
 protected:
  Update()
      : registry_({.caches = {{"default", {.backend = "memory", .timeout = 10s}},
                              {"other", {.backend = "memory"}},
                              {"chaos", {.backend = "memory", .layers = {{"chaos", {}}}}}}},
                  {.clock = &clock_,
                   .on_warning = [this](const Warning& w) { warnings_.push_back(w); },
                   .linked_plugins = {&testing::memory_store, &testing::chaos_layer}}),
        cache_(registry_["default"]),
        other_(registry_["other"]) {}

  testing::ManualClock clock_;
  std::vector<Warning> warnings_;
  CacheRegistry registry_;
  Cache& cache_;
  Cache& other_;
};

TEST_F(Update, ReplacesWhatIsThereAndBeginsWithNothing) {
  EXPECT_TRUE(cache_.update<int>("n", one_more));
  EXPECT_TRUE(cache_.update<int>("n", one_more));
  EXPECT_EQ(cache_.get<int>("n"), 2);
}

TEST_F(Update, AFunctionThatReturnsNothingChangesNothing) {
  cache_.set("n", 1);
  Old seen;
  EXPECT_FALSE(cache_.update<int>("n", [&](Old old) {
    seen = old;
    return Old();
  }));
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(cache_.get<int>("n"), 1);
  EXPECT_FALSE(cache_.update<int>("absent", [](Old) { return std::nullopt; }));
  EXPECT_FALSE(cache_.contains("absent"));
}

TEST_F(Update, SeesWhatOthersWroteInBetween) {
  std::vector<Old> seen;
  const auto replace = [&](Old old) {
    seen.push_back(old);
    if (seen.size() == 1) other_.set("n", 10);
    if (seen.size() == 2) other_.set("n", 20);
    if (seen.size() == 3) other_.erase("n");
    if (seen.size() == 4) other_.set("n", 30);
    return old.value_or(0) + 1;
  };
  EXPECT_TRUE(cache_.update<int>("n", replace));
  EXPECT_EQ(seen, (std::vector<Old>{std::nullopt, 10, 20, std::nullopt, 30}));
  EXPECT_EQ(other_.get<int>("n"), 31);
}

TEST_F(Update, EndsWhenTheEntryNeverStaysTheSame) {
  int calls = 0;
  try {
    cache_.update<int>("n", [&](Old) {
      other_.set("n", ++calls);
      return 0;
    });
    FAIL() << "it stored a value over another one";
  } catch (const BackendError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("default: update of the key"), HasSubstr(":n\""),
                                    HasSubstr("all the time")));
  }
  EXPECT_EQ(calls, 1000);
  EXPECT_EQ(cache_.get<int>("n"), 1000);
}

TEST_F(Update, GivesTheLifetimeOfTheCall) {
  cache_.update<int>("default", one_more);
  cache_.update<int>("own", one_more, 1h);
  cache_.update<int>("own", one_more, {.timeout = 20s});
  clock_.advance(10s);
  EXPECT_FALSE(cache_.contains("default"));
  EXPECT_EQ(cache_.get<int>("own"), 2);
  clock_.advance(10s);
  EXPECT_FALSE(cache_.contains("own"));
}

TEST_F(Update, ATimeoutOfZeroErases) {
  cache_.set("n", 1);
  EXPECT_TRUE(cache_.update<int>("n", one_more, 0s));
  EXPECT_FALSE(cache_.contains("n"));
  EXPECT_TRUE(cache_.update<int>("n", one_more, -1s));
  // An entry that changed meanwhile is asked about again.
  cache_.set("n", 1);
  std::vector<Old> seen;
  EXPECT_TRUE(cache_.update<int>(
      "n",
      [&](Old old) {
        seen.push_back(old);
        if (seen.size() == 1) other_.set("n", 2);
        return 0;
      },
      0s));
  EXPECT_EQ(seen, (std::vector<Old>{1, 2}));
  EXPECT_FALSE(cache_.contains("n"));
}

TEST_F(Update, EntriesThatDoNotCountAreAbsent) {
  cache_.set("tagged", 5, {.tags = {"t"}});
  cache_.erase_tag("t");
  cache_.set("stale", 5);
  cache_.expire("stale");
  cache_.get_or_set<int>("negative", [] { return Old(); },
                         {.timeout = 10s, .negative_timeout = 10s});
  cache_.set("text", "not a number");
  for (const char* const key : {"tagged", "stale", "negative", "text"}) {
    int calls = 0;
    EXPECT_TRUE(cache_.update<int>(key, [&](Old old) {
      EXPECT_EQ(old, std::nullopt) << key;
      ++calls;
      return 7;
    })) << key;
    EXPECT_EQ(calls, 1) << key;
    EXPECT_EQ(cache_.get<int>(key), 7) << key;
  }
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_EQ(warnings_[0].kind, Warning::Kind::undecodable_value);
}

TEST_F(Update, ATagThatIsErasedMeanwhileWins) {
  EXPECT_TRUE(cache_.update<int>("n", one_more, {.tags = {"t"}}));
  EXPECT_EQ(cache_.get<int>("n"), 1);
  EXPECT_TRUE(cache_.update<int>("n",
                                 [&](Old old) {
                                   if (old) cache_.erase_tag("t");
                                   return one_more(old);
                                 },
                                 {.tags = {"t"}}));
  EXPECT_FALSE(cache_.contains("n"));
}

TEST_F(Update, WhatTheFunctionThrowsReachesTheCallerAndChangesNothing) {
  cache_.set("n", 1);
  EXPECT_THROW(cache_.update<int>("n", [](Old) -> int { throw std::out_of_range("mine"); }),
               std::out_of_range);
  EXPECT_EQ(cache_.get<int>("n"), 1);
}

TEST_F(Update, TheFunctionMayUseTheSameCacheAndItsBuffers) {
  const std::string large(10'000, 'l');
  EXPECT_TRUE(cache_.update<std::string>("text", [&](std::optional<std::string> old) {
    cache_.set("inner", large);
    return old.value_or("") + large.substr(9'000);
  }));
  EXPECT_EQ(cache_.get("text"), large.substr(9'000));
  EXPECT_EQ(cache_.get("inner"), large);
}

TEST_F(Update, TakesTypedKeys) {
  const Key<int> visits{"visits:{}", {.timeout = 1h}};
  EXPECT_TRUE(cache_.update(visits(7), one_more));
  EXPECT_TRUE(cache_.update(visits(7), one_more, 2h));
  EXPECT_EQ(cache_.get(visits(7)), 2);
  clock_.advance(90min);
  EXPECT_EQ(cache_.get(visits(7)), 2);
}

TEST_F(Update, AStoreThatFailsIsNeverSilent) {
  Cache& chaos = registry_["chaos"];
  const auto store = testing::Chaos::named("chaos", clock_);
  store->set({.fail = 1});
  EXPECT_THROW(chaos.update<int>("n", one_more), BackendError);
  store->set({.fail = 1, .only = testing::ChaosScope::writes});
  EXPECT_THROW(chaos.update<int>("n", one_more), BackendError);
  EXPECT_THROW(chaos.update<int>("n", one_more, {.tags = {"t"}}), BackendError);
  store->off();
  EXPECT_TRUE(chaos.update<int>("n", one_more));
}

TEST_F(Update, AStoreThatRefusesTheValueIsFalse) {
  Cache& chaos = registry_["chaos"];
  const auto store = testing::Chaos::named("chaos", clock_);
  const testing::ChaosStep refused{.act = testing::ChaosAct::refuse};
  int calls = 0;
  store->set({.refuse = 1});
  EXPECT_FALSE(chaos.update<int>("n", [&](Old) { return ++calls; }));
  EXPECT_EQ(calls, 3);
  EXPECT_FALSE(chaos.contains("n"));
  // One that is refused once is made again.
  store->set({.script = {{}, refused}});
  EXPECT_TRUE(chaos.update<int>("n", one_more));
  EXPECT_EQ(chaos.get<int>("n"), 1);
}

}  // namespace
}  // namespace polycache
