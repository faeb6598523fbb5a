// What testing/ gives to the tests of others: scoped caches, the recording layer, the
// chaos layer.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/recording_layer.h"
#include "polycache/testing/scoped_caches.h"
#include "polycache/testing/test_context.h"

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What the ConfigError of f() says.
template <class F>
std::string config_error(F&& f) {
  try {
    f();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// --- ScopedCaches. ---

TEST(ScopedCaches, AreFreshEachTime) {
  for (int round = 0; round < 3; ++round) {
    ScopedCaches tests;
    EXPECT_FALSE(caches["default"].get("k")) << round;
    EXPECT_TRUE(caches["default"].set("k", round, 10s));
    EXPECT_EQ(cache().get<int>("k"), round);
    EXPECT_EQ(tests["default"].get<int>("k"), round);
    tests.clock().advance(10s);
    EXPECT_FALSE(caches["default"].get("k"));
    caches["default"].set("k", round);
  }
}

TEST(ScopedCaches, HaveTheNamedAliasesAndNoOthers) {
  ScopedCaches tests({"users", "pages"});
  caches["users"].set("k", 1);
  EXPECT_FALSE(caches["pages"].contains("k"));
  EXPECT_THROW(caches["default"], ConfigError);
  EXPECT_THROW(tests.chaos(), ConfigError);
  EXPECT_THAT(tests.registry().aliases(), ElementsAre("pages", "users"));
}

// In a process of its own: others may have made the global registry.
TEST(ScopedCachesDeathTest, DoNotReadTheProgramsConfiguration) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto child = [] {
    ::setenv("POLYCACHE_CONFIG", "/there/is/no/such/file.json", 1);
    {
      ScopedCaches tests;
      caches["default"].set("k", 1);
    }
    const std::string said = config_error([] { caches["default"]; });
    std::exit(said.find("no/such/file.json") == std::string::npos ? 1 : 0);
  };
  EXPECT_EXIT(child(), ::testing::ExitedWithCode(0), "");
}

TEST(ScopedCaches, LeaveTheGlobalRegistryAsItWas) {
  const Config real{.caches = {{"default", {.backend = "memory", .location = {"real"}}}}};
  configure(real, {.linked_plugins = {&memory_store}});
  Cache& before = caches["default"];
  before.set("k", "real");
  {
    ScopedCaches tests({"default", "more"});
    EXPECT_FALSE(caches["default"].get("k"));
    caches["default"].set("k", "scoped");
    EXPECT_EQ(before.get("k"), "real");  // a reference stays what it was

    // configure() in a scope is about the scope.
    configure({.caches = {{"other", {.backend = "memory", .location = {"other"}}}}},
              {.linked_plugins = {&memory_store}});
    EXPECT_TRUE(caches["other"].set("k", 1));
    EXPECT_THROW(caches["more"], ConfigError);
  }
  EXPECT_EQ(&caches["default"], &before);
  EXPECT_EQ(caches["default"].get("k"), "real");
  EXPECT_THROW(caches["other"], ConfigError);
}

TEST(ScopedCaches, Nest) {
  ScopedCaches outer;
  caches["default"].set("k", "outer");
  {
    ScopedCaches inner;
    EXPECT_FALSE(caches["default"].get("k"));
    caches["default"].set("k", "inner");
  }
  EXPECT_EQ(caches["default"].get("k"), "outer");
}

TEST(ScopedCaches, EndInAnyOrder) {
  auto first = std::make_unique<ScopedCaches>();
  caches["default"].set("k", "first");
  auto second = std::make_unique<ScopedCaches>();
  caches["default"].set("k", "second");
  first.reset();
  EXPECT_EQ(caches["default"].get("k"), "second");
  second.reset();
}

TEST(ScopedCaches, CountInThreadsThatHaveNone) {
  ScopedCaches tests;
  std::thread worker([] { caches["default"].set("k", "by a worker"); });
  worker.join();
  EXPECT_EQ(caches["default"].get("k"), "by a worker");
}

TEST(ScopedCaches, OfTwoThreadsDoNotMeet) {
  std::barrier together(2);
  const auto test = [&](const std::string& name) {
    ScopedCaches tests;
    together.arrive_and_wait();
    caches["default"].set("k", name);
    together.arrive_and_wait();
    EXPECT_EQ(caches["default"].get("k"), name);
    EXPECT_EQ(tests.recording().count("put"), 1U);

    // A thread that belongs to neither is told so; one that says to which, does.
    std::thread worker([&] {
      EXPECT_THROW(caches["default"], CacheError);
      const ScopedGlobalRegistry here = tests.in_this_thread();
      EXPECT_EQ(caches["default"].get("k"), name);
    });
    worker.join();
    together.arrive_and_wait();
  };
  std::thread other([&] { test("other"); });
  test("this");
  other.join();
}

// A worker that has said where it belongs makes nothing unclear for others.
TEST(ScopedCaches, AThreadThatJoinsChangesNothingForOthers) {
  const ScopedCaches outer;
  ScopedCaches tests;
  caches["default"].set("k", "v");
  const ScopedGlobalRegistry here = tests.in_this_thread();
  std::thread worker([&] {
    const ScopedGlobalRegistry there = tests.in_this_thread();
    std::thread third([] { EXPECT_EQ(caches["default"].get("k"), "v"); });
    third.join();
  });
  worker.join();
}

TEST(ScopedCaches, ReferencesThatWereKeptThrowAfterwards) {
  Cache* kept = nullptr;
  {
    ScopedCaches tests;
    kept = &caches["default"];
    kept->set("k", "v");
  }
  EXPECT_THROW(kept->get("k"), CacheError);
  EXPECT_THROW(kept->set("k", "v", 10s), CacheError);
}

TEST(ScopedCaches, DoNotChangeOtherCachesOfTheThread) {
  CacheRegistry mine({.caches = {{"default", {.backend = "memory"}}}},
                     {.linked_plugins = {&memory_store}});
  Cache& cache = mine["default"];
  for (int i = 0; i < 100; ++i) {
    ScopedCaches tests;
    caches["default"].set("k", i);
  }
  EXPECT_EQ(&mine["default"], &cache);
}

// Writes backwards: shows whether a layer of the configuration is there.
class Backwards final : public Layer {
 public:
  using Layer::Layer;
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override {
    return inner().put(key, std::string(value.rbegin(), value.rend()), ttl, mode);
  }
};
class BackwardsFactory final : public LayerFactory {
 public:
  using LayerFactory::LayerFactory;

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<Backwards>(std::move(session));
  }
};
constexpr PluginDescriptor backwards = layer_plugin(
    "backwards", "1.0",
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<BackwardsFactory>(context.inner);
    });

constexpr PluginDescriptor dotted = key_function_plugin(
    "dotted", "1.0",
    [](std::string& out, std::string_view key, std::string_view prefix, int version) {
      out.append(prefix).append(".").append(std::to_string(version)).append(".").append(key);
    });

TEST(ScopedCaches, KeepAllOfAConfigurationButItsStores) {
  Config config{
      .caches = {{"users",
                  {.backend = "redis",
                   .location = {"redis://cache.example:6379/1"},
                   .timeout = 60s,
                   .key_prefix = "shop",
                   .version = 3,
                   .key_function = "dotted",
                   .layers = {{.name = "backwards"}},
                   .options = {{"max_connections", std::int64_t{4}}}}},
                 {"same", {.backend = "redis", .location = {"redis://cache.example:6379/1"}}},
                 {"strict", {.backend = "memcached", .location = {"cache.example"}}}}};
  ScopedCaches tests(config, {.linked_plugins = {&backwards, &dotted}});
  caches["users"].set("k", "abc");
  EXPECT_EQ(tests.recording().text(), "users: put shop.3.k cba for 60s -> stored\n");
  EXPECT_EQ(caches["users"].get("k"), "cba");
  caches["same"].clear();  // the store is one, as it was
  EXPECT_FALSE(caches["users"].get("k"));
  EXPECT_THROW(caches["strict"].set("a key with blanks", 1), InvalidKey);

  EXPECT_THAT(config_error([&] { const ScopedCaches missing(config); }), HasSubstr("backwards"));
}

TEST(ScopedCaches, KeepTheWarnings) {
  std::atomic<int> heard = 0;
  ScopedCaches tests({"default"}, {.on_warning = [&](const Warning& warning) {
                       ++heard;
                       if (warning.kind == Warning::Kind::undecodable_value)
                         throw std::runtime_error("!");
                     }});
  caches["default"].set("a key", "text");
  EXPECT_THROW(caches["default"].get<int>("a key"), std::runtime_error);
  EXPECT_THAT(tests.warnings(), ::testing::Contains(HasSubstr("memcached would refuse")));
  EXPECT_THAT(tests.warnings(), ::testing::Contains(HasSubstr("not of the type")));
  EXPECT_GE(heard, 2);
}

// --- RecordingLayer. ---

TEST(RecordingLayer, RecordsOperations) {
  ScopedCaches tests;
  Cache& cache = caches["default"];
  cache.get("a");
  cache.set("a", "text with blanks", 1500ms);
  cache.set("n", 5, never);
  cache.add("n", 6);
  cache.get("n");
  cache.incr("n", 2);
  EXPECT_THROW(cache.incr("none"), KeyNotFound);
  cache.touch("a", 10s);
  cache.contains("a");
  cache.get_many({"a", "b"});
  cache.set_many({{"x", 1}, {"y", ""}}, 10s);
  cache.erase_many({"x", "y", "z"});
  cache.pop("n");
  cache.erase("n");
  cache.clear();
  EXPECT_EQ(tests.recording().text(),
            "default: get :1:a -> miss\n"
            "default: put :1:a \"text with blanks\" for 1500ms -> stored\n"
            "default: put :1:n 5 for ever -> stored\n"
            "default: add :1:n 6 for 300s -> not stored\n"
            "default: contains :1:n -> done\n"  // whether what is there is live
            "default: get :1:n -> hit 5\n"
            "default: incr :1:n by 2 -> 7\n"
            "default: incr :1:none by 1 -> miss\n"
            "default: touch :1:a for 10s -> done\n"
            "default: contains :1:a -> done\n"
            "default: get_many :1:a, :1:b -> hit \"text with blanks\", miss\n"
            "default: put_many :1:x 1 for 10s, :1:y \"\" for 10s -> stored, stored\n"
            "default: erase_many :1:x, :1:y, :1:z -> 2\n"
            "default: pop :1:n -> hit 7\n"
            "default: erase :1:n -> miss\n"
            "default: clear -> done\n");

  const std::vector<RecordedCall> calls = tests.recording().calls();
  ASSERT_EQ(calls.size(), 16U);
  EXPECT_EQ(calls[1].items.front().value, "text with blanks");
  EXPECT_EQ(calls[1].items.front().ttl->value(), 1500ms);
  EXPECT_TRUE(calls[1].items.front().done);
  EXPECT_EQ(calls[6].number, 7);
  EXPECT_EQ(tests.recording().count("get"), 2U);
  EXPECT_EQ(tests.recording().count("get", "default"), 2U);
  EXPECT_EQ(tests.recording().count("get", "other"), 0U);
  tests.recording().clear();
  EXPECT_EQ(tests.recording().text(), "");
}

TEST(RecordingLayer, RecordsExtensions) {
  ScopedCaches tests;
  Cache& cache = caches["default"];
  cache.set("k", "old", 10s);
  cache.set("n", 1, never);
  tests.recording().clear();
  auto* const ttl = cache.extension<TtlExtension>();
  auto* const compare = cache.extension<CompareExtension>();
  auto* const prefix = cache.extension<ErasePrefixExtension>();
  ASSERT_TRUE(ttl != nullptr && compare != nullptr && prefix != nullptr);
  const std::array<std::string_view, 2> keys{":1:n", ":1:none"};
  ttl->get(":1:k", [](std::string_view, Ttl) {});
  ttl->get_many(keys, [](std::size_t, std::string_view, Ttl) {});
  compare->put_if_equal(":1:k", "old", "new", std::nullopt);
  compare->put_if_equal(":1:k", "old", "newer", Ttl(5s));
  compare->erase_if_equal(":1:k", "new");
  prefix->erase_prefix(":1:");
  EXPECT_EQ(tests.recording().text(),
            "default: get_with_ttl :1:k -> hit old for 10s\n"
            "default: get_many_with_ttl :1:n, :1:none -> hit 1 for ever, miss\n"
            "default: put_if_equal :1:k new if it is old -> stored\n"
            "default: put_if_equal :1:k newer for 5s if it is old -> not stored\n"
            "default: erase_if_equal :1:k if it is new -> done\n"
            "default: erase_prefix :1: -> 1\n");
}

TEST(RecordingLayer, RecordsFailures) {
  ScopedCaches tests;
  tests.chaos().set({.fail = 1});
  EXPECT_FALSE(caches["default"].get("k"));
  EXPECT_THROW(caches["default"].erase("k"), BackendError);
  const std::vector<RecordedCall> calls = tests.recording().calls();
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_THAT(calls[0].error, HasSubstr("chaos: get fails"));
  EXPECT_THAT(calls[0].text(), HasSubstr("default: get :1:k -> threw \""));
}

// A store with the five required functions and nothing else.
class Plain final : public Backend {
 public:
  bool get(std::string_view, ValueSink) override { return false; }
  bool put(std::string_view, std::string_view, Ttl, PutMode) override { return true; }
  bool touch(std::string_view, Ttl, ValueSink) override { return false; }
  bool erase(std::string_view) override { return false; }
  void clear() override {}
};
// One whose servers break circuits themselves, and that has an ability of its own.
class PlainFactory final : public BackendFactory {
 public:
  std::unique_ptr<Backend> connect() override { return std::make_unique<Plain>(); }
  StoreTraits traits() const noexcept override { return {.breaks_circuits = true}; }
};

TEST(TestingLayers, OfferOnlyWhatTheirStoreHas) {
  const auto store = std::make_shared<PlainFactory>();
  const auto recording = std::make_shared<Recording>();
  RecordingLayerFactory recorded(store, recording, "plain");
  ChaosLayerFactory chaotic(store, std::make_shared<Chaos>());
  for (BackendFactory* const factory :
       {static_cast<BackendFactory*>(&recorded), static_cast<BackendFactory*>(&chaotic)}) {
    const std::unique_ptr<Backend> session = factory->connect();
    for (const std::string_view id : {TtlExtension::id, CompareExtension::id, PopExtension::id,
                                      ErasePrefixExtension::id, HealthExtension::id}) {
      EXPECT_EQ(session->extension(id), nullptr) << id;
    }
    session->put("k", "v", Ttl(1s), PutMode::if_present);
  }
  EXPECT_EQ(recording->text(), "plain: replace k v for 1s -> stored\n");
  EXPECT_TRUE(recorded.traits().breaks_circuits);
  EXPECT_FALSE(chaotic.traits().breaks_circuits);  // its failures are above the servers
}

TEST(TestingLayers, AreFoundByNameAndClock) {
  const ManualClock clock;
  const ManualClock other;
  const auto first = Recording::named("x", clock);
  EXPECT_EQ(Recording::named("x", clock), first);
  EXPECT_NE(Recording::named("y", clock), first);
  EXPECT_NE(Recording::named("x", other), first);
  EXPECT_NE(Recording::named("x"), first);
}

TEST(TestingLayers, AreLayersOfAConfiguration) {
  const ManualClock clock;
  const auto recording = Recording::named("mine", clock);
  CacheRegistry registry(
      {.caches = {{"default",
                   {.backend = "memory",
                    .layers = {{"recording", {{"into", "mine"}}},
                               {"chaos",
                                {{"script", std::vector<std::string>{"pass", "fail"}}}}}}}}},
      {.clock = &clock,
       .on_warning = nullptr,
       .linked_plugins = {&memory_store, &recording_layer, &chaos_layer}});
  EXPECT_TRUE(registry["default"].set("k", 1));
  EXPECT_FALSE(registry["default"].get("k"));
  EXPECT_EQ(registry["default"].get<int>("k"), 1);
  EXPECT_EQ(recording->count("get"), 2U);
}

// --- ChaosLayer. ---

TEST(ChaosLayer, DoesNothingUntilAFaultIsSet) {
  ScopedCaches tests;
  caches["default"].set("k", 1);
  EXPECT_EQ(caches["default"].get<int>("k"), 1);
  EXPECT_FALSE(tests.chaos().is_on());
  EXPECT_EQ(tests.chaos().counts().operations, 0U);
}

TEST(ChaosLayer, FailsEveryOperationAndRecovers) {
  ScopedCaches tests(
      {.caches = {
           {"default", {.on_error = {ErrorPolicy::throw_error, ErrorPolicy::throw_error}}}}});
  Cache& cache = caches["default"];
  cache.set("k", 1);
  Backend& session = cache.backend();
  tests.chaos().set({.fail = 1, .kind = BackendError::Kind::timeout});
  const std::array<std::string_view, 1> keys{"k"};
  const std::array<Item, 1> items{Item{"k", "v", Ttl(1s)}};
  const auto ignore = [](std::string_view) {};
  const std::vector<std::function<void()>> operations{
      [&] { session.get("k", ignore); },
      [&] { session.contains("k", ignore); },
      [&] { session.get_many(keys, [](std::size_t, std::string_view) {}); },
      [&] { session.put("k", "v", Ttl(1s), PutMode::always); },
      [&] { session.put_many(items, PutMode::always, [](std::size_t) {}); },
      [&] { session.touch("k", Ttl(1s)); },
      [&] { session.erase("k"); },
      [&] { session.erase_many(keys); },
      [&] { session.clear(); },
      [&] { session.incr("k", 1); },
      [&] { cache.extension<TtlExtension>()->get("k", [](std::string_view, Ttl) {}); },
      [&] {
        cache.extension<TtlExtension>()->get_many(keys, [](std::size_t, std::string_view, Ttl) {});
      },
      [&] { cache.extension<CompareExtension>()->put_if_equal("k", "a", "b", std::nullopt); },
      [&] { cache.extension<CompareExtension>()->erase_if_equal("k", "a"); },
      [&] { cache.extension<PopExtension>()->pop("k", ignore); },
      [&] { cache.extension<ErasePrefixExtension>()->erase_prefix("k"); },
  };
  for (std::size_t i = 0; i < operations.size(); ++i) {
    try {
      operations[i]();
      ADD_FAILURE() << "operation " << i << " did not fail";
    } catch (const BackendError& error) {
      EXPECT_EQ(error.kind(), BackendError::Kind::timeout) << i;
    }
  }
  EXPECT_EQ(tests.chaos().counts().failed, operations.size());
  tests.chaos().off();
  EXPECT_EQ(cache.get<int>("k"), 1);
}

TEST(ChaosLayer, LosesWrites) {
  ScopedCaches tests;
  Cache& cache = caches["default"];
  cache.set("old", 1, 10s);
  tests.chaos().set({.lose = 1});
  EXPECT_TRUE(cache.set("old", 2));
  EXPECT_TRUE(cache.set("new", 2));
  EXPECT_FALSE(cache.add("old", 2));  // says what would have come of it
  EXPECT_TRUE(cache.add("new", 2));
  EXPECT_TRUE(cache.touch("old", 1h));
  EXPECT_FALSE(cache.touch("new", 1h));
  EXPECT_THAT(cache.set_many({{"old", 3}, {"new", 3}}), IsEmpty());
  auto* const compare = cache.extension<CompareExtension>();
  EXPECT_TRUE(compare->put_if_equal(":1:old", "1", "4", std::nullopt));
  EXPECT_FALSE(compare->put_if_equal(":1:old", "2", "4", std::nullopt));
  EXPECT_EQ(tests.chaos().counts().lost, 9U);
  std::string head;
  EXPECT_TRUE(cache.backend().touch(":1:old", Ttl(1h), [&](std::string_view v) { head = v; }));
  EXPECT_EQ(head, "1") << "as the store would have shown";
  EXPECT_EQ(cache.get<int>("old"), 1);
  EXPECT_FALSE(cache.get("new"));
  EXPECT_EQ(cache.incr("old"), 2);  // never lost: erasing and counting
  EXPECT_TRUE(cache.erase("old"));
  tests.clock().advance(10s);
  EXPECT_FALSE(cache.get("old"));
}

TEST(ChaosLayer, RefusesWrites) {
  ScopedCaches tests;
  Cache& cache = caches["default"];
  cache.set("a", 1);
  cache.set("b", 1);
  tests.chaos().set({.refuse = 1});
  EXPECT_FALSE(cache.set("a", 2));
  EXPECT_FALSE(cache.get("a"));  // as from a store that refuses a value
  EXPECT_FALSE(cache.add("a", 2));
  EXPECT_FALSE(cache.touch("b", 1h));
  EXPECT_EQ(cache.get<int>("b"), 1);
  EXPECT_THAT(cache.set_many({{"a", 3}, {"b", 3}}), ElementsAre("a", "b"));
  EXPECT_FALSE(cache.get("b"));
}

TEST(ChaosLayer, FailsAfterTheFact) {
  ScopedCaches tests;
  Cache& cache = caches["default"];
  tests.chaos().set({.fail_after = 1, .only = ChaosScope::writes});
  EXPECT_FALSE(cache.set("k", 1));
  EXPECT_EQ(cache.get<int>("k"), 1);
  EXPECT_THROW(cache.incr("k"), BackendError);
  EXPECT_EQ(cache.get<int>("k"), 2);
  EXPECT_THROW(cache.pop("k"), BackendError);
  EXPECT_FALSE(cache.get("k"));
}

TEST(ChaosLayer, FollowsItsScript) {
  ScopedCaches tests;
  Cache& cache = caches["default"];
  tests.chaos().set({.script = {{.act = ChaosAct::lose},
                                {},
                                {.act = ChaosAct::fail, .kind = BackendError::Kind::denied},
                                {.delay = 3s}}});
  EXPECT_TRUE(cache.set("k", 1));  // lost
  EXPECT_TRUE(cache.set("n", 1));
  EXPECT_FALSE(cache.get("n"));  // fails
  const auto before = tests.clock().steady_now();
  EXPECT_EQ(cache.get<int>("n"), 1);  // late
  EXPECT_EQ(tests.clock().steady_now() - before, 3s);
  EXPECT_FALSE(cache.get("k"));  // the script is over
  EXPECT_EQ(tests.recording().count("get"), 3U);
  EXPECT_THAT(tests.warnings(), ElementsAre(HasSubstr("denied"), ::testing::_));
}

std::string fates(std::uint64_t seed) {
  ScopedCaches tests({.caches = {{"default", {.on_error = {.read = ErrorPolicy::throw_error}}}}});
  tests.chaos().set({.fail = 0.1, .slow = 0.2, .delay = 1ms, .delay_most = 9ms, .seed = seed});
  Backend& session = caches["default"].backend();
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    const auto before = tests.clock().steady_now();
    try {
      session.get("k", [](std::string_view) {});
      all += 'p';
    } catch (const BackendError&) {
      all += 'f';
    }
    all += std::to_string((tests.clock().steady_now() - before) / 1ms);
  }
  const Chaos::Counts counts = tests.chaos().counts();
  EXPECT_EQ(counts.operations, 1000U);
  EXPECT_NEAR(static_cast<double>(counts.failed), 100, 40);
  EXPECT_NEAR(static_cast<double>(counts.delayed), 200, 60);
  return all;
}

TEST(ChaosLayer, IsTheSameAtEveryRun) {
  EXPECT_EQ(fates(7), fates(7));
  EXPECT_NE(fates(7), fates(8));
}

TEST(ChaosLayer, ReachesReadsOrWritesOnly) {
  ScopedCaches tests;
  Cache& cache = caches["default"];
  tests.chaos().set({.fail = 1, .only = ChaosScope::reads});
  EXPECT_TRUE(cache.set("k", 1));
  EXPECT_FALSE(cache.get("k"));
  tests.chaos().set({.fail = 1, .only = ChaosScope::writes});
  EXPECT_EQ(cache.get<int>("k"), 1);
  EXPECT_THROW(cache.erase("k"), BackendError);
}

TEST(ChaosLayer, GoesOnWhereItWasSwitchedOff) {
  ScopedCaches tests;
  tests.chaos().set({.script = {{}, {.act = ChaosAct::fail}}});
  caches["default"].set("k", 1);
  tests.chaos().off();
  EXPECT_TRUE(caches["default"].get("k"));
  tests.chaos().on();
  EXPECT_FALSE(caches["default"].get("k"));
  EXPECT_TRUE(caches["default"].get("k"));
}

TEST(ChaosLayer, OpensTheCircuitBreakerOfItsAlias) {
  ScopedCaches tests;
  Cache& cache = caches["default"];
  cache.set("k", 1, never);
  tests.chaos().set({.fail = 1});
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(cache.get("k"));
  EXPECT_LT(tests.chaos().counts().operations, 20U);  // the others were kept from it
  EXPECT_FALSE(tests.registry().health().at(0).reachable);
  tests.chaos().off();
  EXPECT_TRUE(tests.registry().health().at(0).reachable);
  tests.clock().advance(1min);
  EXPECT_EQ(cache.get<int>("k"), 1);
}

TEST(ChaosLayer, SaysWhichSettingsMakeNoSense) {
  Chaos chaos;
  EXPECT_THAT(config_error([&] { chaos.set({.fail = 1.5}); }),
              HasSubstr("chaos: fail: expected a probability from 0 to 1, got 1.5"));
  EXPECT_THAT(config_error([&] { chaos.set({.fail = 0.6, .lose = 0.6}); }),
              HasSubstr("together more than 1"));
  EXPECT_THAT(config_error([&] { chaos.set({.slow = 0.5}); }), HasSubstr("needs a delay"));
  EXPECT_THAT(config_error([&] { chaos.set({.slow = 1, .delay = 9ms, .delay_most = 5ms}); }),
              HasSubstr("delay_most: is less than delay"));
  EXPECT_FALSE(chaos.is_on());
}

// What a configuration with these options of the layer throws.
std::string refusal(const OptionMap& options) {
  return config_error([&] {
    const ScopedCaches tests(
        {.caches = {{"default", {.layers = {{.name = "chaos", .options = options}}}}}});
  });
}
std::string refusal_of_step(const std::string& step) {
  return refusal({{"script", std::vector<std::string>{"pass", step}}});
}

TEST(ChaosLayer, SaysWhichOptionsAreWrong) {
  EXPECT_THAT(refusal({{"fail", -0.1}}),
              HasSubstr("caches.default.layers[0].options.fail: expected a probability"));
  EXPECT_THAT(refusal({{"fial", 0.1}}), HasSubstr("did you mean \"fail\"?"));
  EXPECT_THAT(refusal({{"error", "disk"}}), HasSubstr("options.error"));
  EXPECT_THAT(refusal({{"seed", std::int64_t{-1}}}), HasSubstr("options.seed"));
  EXPECT_THAT(refusal({{"only", "some"}}), HasSubstr("options.only"));
  EXPECT_THAT(refusal({{"slow", 1.0}, {"delay", "soon"}}), HasSubstr("options.delay"));
  EXPECT_THAT(refusal_of_step("fial"), HasSubstr("options.script: expected pass, fail"));
  EXPECT_THAT(refusal_of_step("lose timeout"), HasSubstr("got \"timeout\""));
  EXPECT_THAT(refusal_of_step("delay"), HasSubstr("needs a duration"));
  EXPECT_THAT(refusal_of_step("delay soon"), HasSubstr("expected a duration, got \"soon\""));
  EXPECT_THAT(refusal_of_step("0x fail"), HasSubstr("got \"0x\""));
  EXPECT_THAT(refusal_of_step(" "), HasSubstr("a step is empty"));
}

TEST(ChaosLayer, ReadsItsOptions) {
  const std::vector<std::string> script{"2x fail_after timeout", "delay 2s refuse", "lose", "pass",
                                        "fail"};
  ScopedCaches tests(
      {.caches = {{"default",
                   {.layers = {{.name = "chaos",
                                .options = {{"script", script}, {"error", "storage"}}}}}}}});
  Cache& cache = caches["default"];
  EXPECT_TRUE(tests.chaos().is_on());
  EXPECT_FALSE(cache.set("a", 1));
  EXPECT_FALSE(cache.set("b", 1));
  EXPECT_FALSE(cache.set("c", 1));
  EXPECT_TRUE(cache.set("d", 1));
  EXPECT_EQ(cache.get<int>("a"), 1);
  EXPECT_FALSE(cache.get("b"));
  EXPECT_EQ(cache.get<int>("b"), 1);
  EXPECT_FALSE(cache.contains("c"));
  EXPECT_FALSE(cache.contains("d"));
  const Chaos::Counts counts = tests.chaos().counts();
  EXPECT_EQ(counts.failed, 3U);
  EXPECT_EQ(counts.lost, 1U);
  EXPECT_EQ(counts.refused, 1U);
  EXPECT_EQ(counts.delayed, 1U);
  EXPECT_THAT(tests.warnings(), ::testing::Contains(HasSubstr("storage")));
}

TEST(ChaosLayer, IsControlledFromOtherThreads) {
  ScopedCaches tests;
  std::atomic<bool> ending = false;
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back([&, key = "k" + std::to_string(i)] {
      while (!ending) {
        caches["default"].set(key, 1);
        caches["default"].get(key);
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    tests.chaos().set({.fail = 0.3, .slow = 0.3, .delay = 1s, .seed = 1});
    tests.chaos().off();
    tests.clock().advance(1s);
    tests.recording().clear();
  }
  ending = true;
  for (std::thread& worker : workers) worker.join();
  EXPECT_TRUE(caches["default"].set("k", 1));
}

}  // namespace
}  // namespace polycache::testing
