// Cache::get_entry(), pop_entry(), expire(), persist() and reads that renew, as a program sees
// them: what they do if the store fails, which calls of the store they make, what observers and
// counts see; and typed keys. What every store has to do is in the conformance suite.

#include "polycache/entry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/author/plugin.h"
#include "polycache/observer.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "polycache/testing/recording_layer.h"
#include "support/hiding_layer.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using testing::Chaos;
using testing::ChaosAct;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Recording;

class Recorder final : public Observer {
 public:
  void begin(const Call&) noexcept override {}
  void end(const Call& call, const CallEnd& end) noexcept override {
    lines.push_back(std::string(name_of(call.op)) + " " + std::string(name_of(end.result)));
  }
  std::vector<std::string> lines;
};

class GetEntry : public ::testing::Test {
 protected:
  Config config() const {
    const OnError loud{.read = ErrorPolicy::throw_error, .write = ErrorPolicy::throw_error};
    const auto layers = [](const char* alias, LayerConfig outer) {
      return std::vector<LayerConfig>{
          std::move(outer), {.name = "recording", .options = {{"into", std::string(alias)}}}};
    };
    Config config;
    config.caches["a"] = {.backend = "memory", .layers = layers("a", {.name = "chaos"})};
    config.caches["loud"] = {
        .backend = "memory", .on_error = loud, .layers = layers("loud", {.name = "chaos"})};
    config.caches["no_renew"] = {
        .backend = "memory",
        .layers = layers("no_renew", {.name = "hiding",
                                      .options = {{"hides", std::string(RenewExtension::id)}}})};
    config.caches["bare"] = {.backend = "memory", .layers = {{.name = "hiding"}}};
    return config;
  }
  Environment environment() {
    return {.clock = &clock_,
            .on_warning = [this](const Warning& w) { warnings_.emplace_back(w.message); },
            .observer = recorder_,
            .linked_plugins = {&testing::memory_store, &testing::recording_layer,
                               &testing::chaos_layer, &testing::hiding_layer}};
  }
  void fails(const std::string& alias) { Chaos::named(alias, clock_)->set({.fail = 1}); }
  void works(const std::string& alias) { Chaos::named(alias, clock_)->off(); }
  std::string calls(const std::string& alias) { return Recording::named(alias, clock_)->text(); }
  void forget(const std::string& alias) { Recording::named(alias, clock_)->clear(); }

  testing::ManualClock clock_;
  std::vector<std::string> warnings_;
  std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
  CacheRegistry registry_{config(), environment()};
};

TEST_F(GetEntry, DoesNotThrowIfTheStoreFails) {
  for (const char* const alias : {"a", "loud"}) {
    Cache& cache = registry_[alias];
    cache.set("k", "value");
    fails(alias);
    const Entry<std::string> entry = cache.get_entry("k");
    EXPECT_EQ(entry.status, EntryStatus::error);
    EXPECT_FALSE(entry.value);
    EXPECT_THAT(entry.error, HasSubstr(std::string(alias) + ": get: ")) << alias;
    EXPECT_EQ(cache.pop_entry("k").status, EntryStatus::error);
    EXPECT_THAT(cache.pop_entry("k").error, HasSubstr("pop: "));
    works(alias);
    clock_.advance(1min);  // the circuit breaker tries again
    EXPECT_EQ(cache.get_entry("k").status, EntryStatus::hit);
    EXPECT_EQ(cache.get_entry("k").error, "");
  }
}

TEST_F(GetEntry, ReportsARefusalOfTheCircuitBreaker) {
  Cache& cache = registry_["a"];
  fails("a");
  for (int i = 0; i < 20; ++i) cache.get_entry("k");
  EXPECT_THAT(cache.get_entry("k").error, HasSubstr("circuit breaker open"));
}

TEST_F(GetEntry, OfAnInvalidKeyThrows) {
  const char* const null = nullptr;
  EXPECT_THROW(registry_["a"].get_entry(null), InvalidKey);
}

TEST_F(GetEntry, GivesTheValueIfOnlyItsRenewalFails) {
  Cache& cache = registry_["loud"];
  cache.set("k", "value", 10s);
  Chaos::named("loud", clock_)->set({.script = {{.act = ChaosAct::pass}, {.act = ChaosAct::fail}}});
  const Entry<std::string> entry = cache.get_entry("k", {.touch = 1h});
  EXPECT_EQ(entry.status, EntryStatus::hit);
  EXPECT_EQ(entry.value, "value");
  EXPECT_EQ(entry.left, 10s);
  EXPECT_THAT(entry.error, HasSubstr("loud: get: "));
}

TEST_F(GetEntry, ObserversAndCountsSeeWhatWasFound) {
  Cache& cache = registry_["a"];
  cache.set("k", "value");
  recorder_->lines.clear();
  registry_.reset_statistics();
  cache.get_entry("k");
  cache.get_entry("none");
  cache.expire("k");
  cache.expire("k");
  cache.get_entry("k");
  cache.pop_entry("k");
  cache.persist("k");
  EXPECT_THAT(recorder_->lines, ElementsAre("get hit", "get miss", "expire hit", "expire miss",
                                            "get stale", "pop stale", "persist miss"));
  const CacheStatistics counts = cache.statistics();
  EXPECT_EQ(counts.hits, 1U);
  EXPECT_EQ(counts.misses, 1U);
  EXPECT_EQ(counts.stale, 2U);
  EXPECT_EQ(counts.writes, 1U);
  EXPECT_EQ(counts.refused_writes, 2U);
  EXPECT_EQ(counts.erased, 1U);
}

TEST_F(GetEntry, ExpireThrowsIfTheStoreFailsAndPersistFollowsOnError) {
  registry_["a"].set("k", "value");
  fails("a");
  EXPECT_THROW(registry_["a"].expire("k"), BackendError);
  EXPECT_FALSE(registry_["a"].persist("k"));
  fails("loud");
  EXPECT_THROW(registry_["loud"].expire("k"), BackendError);
  EXPECT_THROW(registry_["loud"].persist("k"), BackendError);
}

TEST_F(GetEntry, ReadingAndRenewingIsOneCallOfTheStore) {
  Cache& cache = registry_["a"];
  cache.set("k", "value", 10s);
  forget("a");
  EXPECT_EQ(cache.get("k", {.touch = 1h}), "value");
  EXPECT_EQ(calls("a"), "a: get_and_renew :1:k -> hit value for 3600s\n");
  EXPECT_EQ(cache.get_entry("k").left, 1h);
  forget("a");
  cache.get("k");
  EXPECT_EQ(calls("a"), "a: get :1:k -> hit value\n") << "nothing was said about a lifetime";
}

TEST_F(GetEntry, WithoutTheExtensionARenewalIsGetAndTouch) {
  Cache& cache = registry_["no_renew"];
  cache.set("k", "value", 10s);
  forget("no_renew");
  EXPECT_EQ(cache.get("k", {.touch = 1h}), "value");
  EXPECT_EQ(cache.get("none", {.touch = 1h}), std::nullopt);
  EXPECT_THAT(calls("no_renew"), HasSubstr("get :1:k -> hit value\n"));
  EXPECT_THAT(calls("no_renew"), HasSubstr("touch :1:k for 3600s"));
  EXPECT_THAT(calls("no_renew"), ::testing::Not(HasSubstr("touch :1:none")));
  EXPECT_EQ(cache.get_entry("k").left, 1h);
}

TEST_F(GetEntry, AFailedRenewalIsAFailedWrite) {
  Cache& cache = registry_["no_renew"];
  cache.set("k", "value", 10s);
  EXPECT_EQ(cache.get("k", {.touch = 1h}), "value");
  registry_["a"].set("k", "value", 10s);
  fails("a");
  EXPECT_EQ(registry_["a"].get("k", {.touch = 1h}), std::nullopt);
  EXPECT_THROW(registry_["a"].get("k", {.touch = 0s}), BackendError) << "it means erase";
}

TEST_F(GetEntry, AStoreOfFiveFunctionsHasAllOfThis) {
  Cache& cache = registry_["bare"];
  cache.set("k", "value", 10s);
  EXPECT_EQ(cache.get_entry("k").value, "value");
  EXPECT_EQ(cache.get_entry("k").left, std::nullopt) << "the store cannot say";
  EXPECT_EQ(cache.get("k", {.touch = 1h}), "value");
  clock_.advance(30min);
  EXPECT_TRUE(cache.expire("k"));
  EXPECT_EQ(cache.get_entry("k").status, EntryStatus::stale);
  EXPECT_EQ(cache.pop_entry("k").value, "value");
  EXPECT_FALSE(cache.contains("k"));
}

// --- Typed keys ---

const Key<std::string> profile{"user:profile", {.timeout = 1h, .tags = {"users"}}};
const Key<std::int64_t> visits{"visits", {.version = 7}};

TEST_F(GetEntry, ATypedKeyIsMadeAsKeyMakesIt) {
  EXPECT_EQ(profile(7, "a:b").text(), key("user:profile", 7, "a:b"));
  EXPECT_EQ(profile(7, "a:b").text(), "user:profile:7:a%3Ab");
  EXPECT_EQ(profile().text(), "user:profile");
  EXPECT_EQ(profile.name(), "user:profile");
  EXPECT_THROW(profile(static_cast<const char*>(nullptr)), InvalidKey);
  static_assert(std::is_same_v<decltype(profile(1)), TypedKey<std::string>>);
  static_assert(!std::is_convertible_v<TypedKey<std::string>, KeyView>);
}

TEST_F(GetEntry, OperationsTakeTypedKeysWithTheirTypeAndOptions) {
  Cache& cache = registry_["a"];
  EXPECT_TRUE(cache.set(profile(1), "Ada"));
  static_assert(std::is_same_v<decltype(cache.get(profile(1))), std::optional<std::string>>);
  EXPECT_EQ(cache.get(profile(1)), "Ada");
  EXPECT_EQ(cache.get("user:profile:1"), "Ada");
  const Entry<std::string> entry = cache.get_entry(profile(1));
  EXPECT_EQ(entry.left, 1h);
  EXPECT_THAT(entry.tags, ElementsAre("users"));
  EXPECT_FALSE(cache.add(profile(1), std::string("Eve")));
  EXPECT_TRUE(cache.contains(profile(1)));
  EXPECT_TRUE(cache.touch(profile(1), 5min));
  EXPECT_EQ(cache.get_entry(profile(1)).left, 5min);
  EXPECT_TRUE(cache.touch(profile(1)));
  EXPECT_EQ(cache.get_entry(profile(1)).left, 1h) << "the timeout of the key";
  EXPECT_EQ(cache.get(profile(1), {.touch = 2h}), "Ada");
  EXPECT_EQ(cache.get_entry(profile(1)).left, 2h);
  EXPECT_TRUE(cache.persist(profile(1)));
  EXPECT_EQ(cache.get_or_set(profile(1), [] { return "made"; }), "Ada");
  cache.erase_tag("users");
  EXPECT_EQ(cache.get_or_set(profile(1), [] { return "made"; }), "made");
  EXPECT_THAT(cache.get_entry(profile(1)).tags, ElementsAre("users"));
  EXPECT_TRUE(cache.expire(profile(1)));
  EXPECT_EQ(cache.pop_entry(profile(1)).status, EntryStatus::stale);
  EXPECT_FALSE(cache.erase(profile(1)));
  EXPECT_EQ(cache.pop(profile(1)), std::nullopt);

  EXPECT_TRUE(cache.set(visits("/"), 41));
  EXPECT_EQ(cache.get<std::int64_t>("visits:%2F"), std::nullopt);
  EXPECT_EQ(cache.get(visits("/")), 41);
  EXPECT_EQ(cache.incr(visits("/").text(), 1, {.version = 7}), 42);
}

TEST_F(GetEntry, OptionsOfACallReplaceThoseOfTheKey) {
  Cache& cache = registry_["a"];
  cache.set(profile(1), "Ada", 5min);
  EXPECT_EQ(cache.get_entry(profile(1)).left, 5min);
  EXPECT_THAT(cache.get_entry(profile(1)).tags, ElementsAre("users"));
  cache.set(profile(1), "Ada", {.tags = {"others"}});
  EXPECT_EQ(cache.get_entry(profile(1)).left, 1h);
  EXPECT_THAT(cache.get_entry(profile(1)).tags, ElementsAre("others"));
  cache.set(visits(1), 1, {.version = 8});
  EXPECT_EQ(cache.get(visits(1)), std::nullopt);
  EXPECT_EQ(cache.get(visits(1), {.version = 8}), 1);
  EXPECT_EQ(cache.get_or_set(visits(2), 5, {.timeout = 10s}), 5);
  EXPECT_EQ(cache.get_entry(visits(2)).left, 10s);
}

}  // namespace
}  // namespace polycache
