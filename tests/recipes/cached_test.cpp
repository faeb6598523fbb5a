// Handles of single values, on the simplest store with a clock that the test moves.

#include "polycache/cached.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

class CachedTest : public ::testing::Test {
 protected:
  CachedTest()
      : registry_({.caches = {{"default", {.backend = "memory", .timeout = 10s}},
                              {"other", {.backend = "memory", .location = {"other"}}}}},
                  {.clock = &clock_, .linked_plugins = {&testing::memory_store}}) {}

  CachedOptions here() { return {.registry = &registry_}; }

  testing::ManualClock clock_;
  CacheRegistry registry_;
};

TEST_F(CachedTest, HasAnyJsonValue) {
  const Cached<> report("report", here());
  EXPECT_FALSE(report.exists());
  EXPECT_EQ(report.value(), std::nullopt);
  EXPECT_FALSE(report.erase());
  for (const json& value : {json({{"total", 17}}), json({1, 2, 3}), json("text"), json(1.5),
                            json(true), json(nullptr), json::object()}) {
    EXPECT_TRUE(report.set(value)) << value;
    EXPECT_TRUE(report.exists()) << value;
    EXPECT_EQ(report.value(), value);
  }
  EXPECT_TRUE(report.erase());
  EXPECT_FALSE(report.exists());
}

TEST_F(CachedTest, TakesTextsAndListsAsTheyAreWritten) {
  const Cached<> value("k", here());
  value.set("a JSON-serializable value", 60);
  EXPECT_EQ(value.value(), "a JSON-serializable value");
  value.set({{"title", "Sales"}, {"total", 17}});
  EXPECT_EQ(value.value()->at("total"), 17);
}

TEST_F(CachedTest, StaysForEverUnlessSaidOtherwise) {
  const Cached<> value("k", here());
  value.set(1);
  clock_.advance(24h * 365);
  EXPECT_TRUE(value.exists());
}

TEST_F(CachedTest, TakesSecondsDurationsAndMoments) {
  const Cached<int> value("k", here());
  const auto lives = [&](const Expiration& expiration, std::chrono::milliseconds life) {
    value.set(1, expiration);
    clock_.advance(life - 1ms);
    EXPECT_TRUE(value.exists());
    clock_.advance(1ms);
    EXPECT_FALSE(value.exists());
    EXPECT_EQ(value.value(), std::nullopt);
  };
  lives(300, 300s);
  lives(300U, 300s);
  lives(std::int64_t{300}, 300s);
  lives(0.25, 250ms);
  lives(0.5F, 500ms);
  lives(1h, 1h);
  lives(Timeout(2s), 2s);
  lives(clock_.system_now() + 1h, 1h);
}

TEST_F(CachedTest, AnExpirationInThePastErases) {
  const Cached<int> value("k", here());
  for (const Expiration& past : {Expiration(0), Expiration(-1), Expiration(-0.5), Expiration(0s),
                                 Expiration(clock_.system_now() - 1s)}) {
    value.set(1);
    EXPECT_TRUE(value.set(2, past));
    EXPECT_FALSE(value.exists());
  }
}

TEST_F(CachedTest, ANumberThatIsNoneIsRefusedAndAnEndlessOneMeansForEver) {
  const Cached<int> value("k", here());
  EXPECT_THROW(value.set(1, std::nan("")), std::invalid_argument);
  EXPECT_FALSE(value.exists());
  value.set(1, std::numeric_limits<double>::infinity());
  clock_.advance(24h * 365);
  EXPECT_TRUE(value.exists());
}

TEST_F(CachedTest, IsAnEntryLikeAnyOther) {
  const Cached<std::string> name("name", here());
  name.set("Ada", 60);
  EXPECT_EQ(registry_["default"].get("name"), "Ada");
  registry_["default"].set("name", "Grace");
  EXPECT_EQ(name.value(), "Grace");
  EXPECT_EQ(name.key(), "name");
}

TEST_F(CachedTest, AValueOfAnotherTypeIsNone) {
  Cached<std::string>("k", here()).set("no number");
  const Cached<int> number("k", here());
  EXPECT_TRUE(number.exists());
  EXPECT_EQ(number.value(), std::nullopt);
}

TEST_F(CachedTest, UsesTheAliasOrTheCacheThatItIsGiven) {
  const Cached<int> other("k", {.cache = "other", .registry = &registry_});
  other.set(7);
  EXPECT_EQ(registry_["other"].get<int>("k"), 7);
  EXPECT_FALSE(Cached<int>("k", here()).exists());
  Cached<int> of_cache(registry_["other"], "k");
  EXPECT_EQ(of_cache.value(), 7);
  const Cached<int> copy = of_cache;
  EXPECT_TRUE(copy.erase());
  EXPECT_FALSE(of_cache.exists());
}

TEST_F(CachedTest, AnUnknownAliasIsAnErrorThatNamesTheKnownOnes) {
  const Cached<> value("k", {.cache = "reports", .registry = &registry_});
  try {
    value.exists();
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("reports"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("\"default\", \"other\""));
  }
}

static_assert(!std::is_constructible_v<Expiration, bool>);
static_assert(!std::is_constructible_v<Expiration, char>);
static_assert(!std::is_constructible_v<Expiration, const char*>);

}  // namespace
}  // namespace polycache
