#include "polycache/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>

#include "polycache/author/extension.h"
#include "polycache/author/layer.h"
#include "polycache/author/plugin.h"
#include "polycache/backends/dummy.h"
#include "polycache/backends/locmem.h"
#include "polycache/error.h"
#include "polycache/testing/manual_clock.h"

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

namespace polycache {
namespace {

// A store that fails on command, in the ways that plugins do.
enum class Failure {
  none,
  backend_error,
  standard,
  foreign,
  value_error,
  key_not_found,
  no_memory
};
std::atomic<Failure> failure{Failure::none};
std::atomic<int> sessions{0};

class FlakySession final : public Backend {
 public:
  explicit FlakySession(std::function<void(const Warning&)> report) : report_(std::move(report)) {
    ++sessions;
  }
  ~FlakySession() override { --sessions; }

  bool get(std::string_view, ValueSink sink) override {
    fail();
    sink("value");
    return true;
  }
  bool put(std::string_view, std::string_view value, Ttl, PutMode) override {
    fail();
    if (value != "too large") return true;
    report_({.kind = Warning::Kind::value_refused, .message = "it is too large"});
    return false;
  }
  bool touch(std::string_view, Ttl, ValueSink) override {
    fail();
    return true;
  }
  bool erase(std::string_view) override {
    fail();
    return true;
  }
  void clear() override { fail(); }
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (i == 1) fail();
      sink(i, "value");
    }
  }

 private:
  static void fail() {
    switch (failure) {
      case Failure::none:
        return;
      case Failure::backend_error:
        throw BackendError(BackendError::Kind::unreachable, "10.0.0.1:1", "connection refused");
      case Failure::standard:
        throw std::runtime_error("a bug");
      case Failure::foreign:
        throw 42;
      case Failure::value_error:
        throw ValueError("no number");
      case Failure::key_not_found:
        throw KeyNotFound("there is none");
      case Failure::no_memory:
        throw std::bad_alloc();
    }
  }

  std::function<void(const Warning&)> report_;
};

class FlakyFactory final : public BackendFactory {
 public:
  explicit FlakyFactory(std::function<void(const Warning&)> report) : report_(std::move(report)) {}
  std::unique_ptr<Backend> connect() override { return std::make_unique<FlakySession>(report_); }
  // So that the core has no breaker for it: each call here shall reach the store.
  StoreTraits traits() const noexcept override { return {.breaks_circuits = true}; }

 private:
  std::function<void(const Warning&)> report_;
};

constexpr PluginDescriptor flaky =
    backend_plugin("flaky", "1.0",
                   [](const OptionReader& options,
                      const BackendContext& context) -> std::unique_ptr<BackendFactory> {
                     options.integer("size", 1, 0, 10);
                     return std::make_unique<FlakyFactory>(context.report);
                   });

// A composite: the factory of the alias that its option names.
class Borrowed final : public BackendFactory {
 public:
  explicit Borrowed(std::shared_ptr<BackendFactory> from) : from_(std::move(from)) {}
  std::unique_ptr<Backend> connect() override { return from_->connect(); }

 private:
  std::shared_ptr<BackendFactory> from_;
};

constexpr PluginDescriptor borrowing = backend_plugin(
    "borrowing", "1.0",
    [](const OptionReader& options,
       const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<Borrowed>(context.sibling(options.string("from", "default")));
    });

// A layer that writes its mark behind each value that is read.
class MarkSession final : public Layer {
 public:
  MarkSession(std::unique_ptr<Backend> inner, std::string mark)
      : Layer(std::move(inner)), mark_(std::move(mark)) {}
  bool get(std::string_view key, ValueSink sink) override {
    std::string value;
    if (!inner().get(key, [&](std::string_view bytes) { value = bytes; })) return false;
    sink(value + mark_);
    return true;
  }

 private:
  std::string mark_;
};

class MarkLayer final : public LayerFactory {
 public:
  MarkLayer(std::shared_ptr<BackendFactory> inner, std::string mark)
      : LayerFactory(std::move(inner)), mark_(std::move(mark)) {}

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<MarkSession>(std::move(session), mark_);
  }

 private:
  std::string mark_;
};

constexpr PluginDescriptor mark =
    layer_plugin("mark", "1.0",
                 [](const OptionReader& options,
                    const BackendContext& context) -> std::unique_ptr<BackendFactory> {
                   return std::make_unique<MarkLayer>(context.inner, options.string("mark", "!"));
                 });

class RegistryTest : public ::testing::Test {
 protected:
  void SetUp() override { failure = Failure::none; }
  void TearDown() override { failure = Failure::none; }

  Environment environment() {
    return {
        .clock = &clock,
        .on_warning = [this](const Warning& warning) { warnings.emplace_back(warning.message); },
        .linked_plugins = {&flaky, &borrowing, &mark, &locmem::plugin, &dummy::plugin}};
  }

  static std::string error_of(const std::function<void()>& f) {
    try {
      f();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }

  testing::ManualClock clock;
  std::vector<std::string> warnings;
};

TEST_F(RegistryTest, OneObjectPerThreadAndAlias) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem"}}, {"b", {.backend = "locmem"}}}},
                         environment());
  Cache* const a = &registry["a"];
  EXPECT_EQ(a, &registry["a"]);
  EXPECT_NE(a, &registry["b"]);
  Cache* other = nullptr;
  std::thread([&] { other = &registry["a"]; }).join();
  EXPECT_NE(a, other);
  EXPECT_EQ(a->alias(), "a");
  EXPECT_THAT(registry.aliases(), ElementsAre("a", "b"));
  EXPECT_TRUE(registry.contains("a"));
  EXPECT_FALSE(registry.contains("c"));
}

TEST_F(RegistryTest, RegistriesDoNotMeet) {
  const Config config{.caches = {{"a", {.backend = "locmem"}}}};
  CacheRegistry first(config, environment());
  testing::ManualClock other_clock;
  Environment other = environment();
  other.clock = &other_clock;
  CacheRegistry second(config, other);
  first["a"].set("k", 1);
  EXPECT_FALSE(second["a"].contains("k"));
}

TEST_F(RegistryTest, AnUnknownAliasNamesTheOnesThereAre) {
  CacheRegistry registry({.caches = {{"default", {.backend = "locmem"}}}}, environment());
  const std::string error = error_of([&] { registry["defalt"]; });
  EXPECT_THAT(error, HasSubstr("\"defalt\""));
  EXPECT_THAT(error, HasSubstr("\"default\""));
  EXPECT_THAT(error_of([&] { registry.open("x"); }), HasSubstr("\"default\""));
  CacheRegistry empty(Config{}, environment());
  EXPECT_THAT(error_of([&] { empty["x"]; }), HasSubstr("has none"));
}

TEST_F(RegistryTest, AllProblemsAreReportedAtOnce) {
  const Config config{.caches = {{"a", {.backend = "flakey"}},
                                 {"b", {.backend = "flaky", .options = {{"sise", true}}}},
                                 {"c", {.timeout = -1s}},
                                 {"d",
                                  {.backend = "flaky",
                                   .key_function = "no_such_function",
                                   .options = {{"size", std::int64_t{11}}}}}},
                      .places = {{"caches.b.options.sise", "caches.json:7"}}};
  const std::string error = error_of([&] { CacheRegistry registry(config, environment()); });
  EXPECT_THAT(error, HasSubstr("6 problems"));
  EXPECT_THAT(error, HasSubstr("caches.a.backend"));
  EXPECT_THAT(error, HasSubstr("caches.json:7: caches.b.options.sise: unknown option; did you "
                               "mean \"size\"?"));
  EXPECT_THAT(error, HasSubstr("caches.c.backend: is missing"));
  EXPECT_THAT(error, HasSubstr("caches.c.timeout: must not be negative"));
  EXPECT_THAT(error, HasSubstr("caches.d.key_function"));
  EXPECT_THAT(error,
              HasSubstr("caches.d.options.size: expected an integer from 0 up to 10, got 11"));
}

TEST_F(RegistryTest, AnOmittedMembersProblemNamesThePlaceOfItsObject) {
  const Config config{.caches = {{"a", {.backend = "flakey"}}, {"b.c", {.backend = "flaky"}}},
                      .places = {{"caches.a", "caches.json:3"}}};
  const std::string error = error_of([&] { CacheRegistry registry(config, environment()); });
  EXPECT_THAT(error, HasSubstr("caches.json:3: caches.a.backend"));
  EXPECT_THAT(error, HasSubstr("caches.b.c: an alias must not be empty or contain a dot"));
}

TEST_F(RegistryTest, DeferredErrorsMakeOnlyTheirAliasThrow) {
  Environment deferred = environment();
  deferred.defer_errors = true;
  CacheRegistry registry(
      {.caches = {{"bad", {.backend = "nope"}}, {"good", {.backend = "locmem"}}}}, deferred);
  registry["good"].set("k", 1);
  EXPECT_THAT(error_of([&] { registry["bad"]; }), HasSubstr("nope"));
  EXPECT_THAT(registry.describe()[0].error, HasSubstr("nope"));
  EXPECT_EQ(registry.describe()[1].error, "");
}

TEST_F(RegistryTest, ADeferredErrorKeepsItsType) {
  Environment deferred = environment();
  deferred.defer_errors = true;
  CacheRegistry registry(
      {.caches = {{"missing", {.backend = "nope"}},
                  {"wrong", {.backend = "flaky", .options = {{"size", true}}}},
                  {"both", {.backend = "nope", .timeout = -1s}},
                  {"needs",
                   {.backend = "borrowing", .options = {{"from", std::string("missing")}}}}}},
      deferred);
  EXPECT_THROW(registry["missing"], PluginError);
  EXPECT_THROW(registry.open("missing"), PluginError);
  EXPECT_THROW(registry["needs"], PluginError);
  for (const char* const alias : {"wrong", "both"}) {
    try {
      registry[alias];
      ADD_FAILURE() << alias << " threw nothing";
    } catch (const PluginError&) {
      ADD_FAILURE() << alias << " is not about plugins only";
    } catch (const ConfigError&) {
    }
  }
}

TEST_F(RegistryTest, ALinkedPluginThatIsDamagedIsNamedAndHarmsNoOtherAlias) {
  PluginDescriptor damaged = mark;
  damaged.abi_version = 99;
  Environment with_damage = environment();
  with_damage.linked_plugins.insert(with_damage.linked_plugins.begin() + 1, &damaged);
  const Config config{.caches = {{"good", {.backend = "locmem"}}}};
  EXPECT_THAT(error_of([&] { CacheRegistry registry(config, with_damage); }),
              HasSubstr("linked_plugins[1]: \"mark\" does not fit this program"));
  with_damage.defer_errors = true;
  CacheRegistry registry(config, with_damage);
  EXPECT_TRUE(registry["good"].set("k", 1));
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("linked_plugins[1]: \"mark\" does not fit")));
}

struct Bus {
  static constexpr std::string_view id = "test.bus/1";
};

TEST_F(RegistryTest, AStoreFindsWhatTheProgramGivesByName) {
  static std::shared_ptr<Bus> found;
  static bool found_another = false;
  constexpr PluginDescriptor asking = backend_plugin(
      "asking", "1.0",
      [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
        found = context.service<Bus>();
        found_another = context.find_service("test.bus/2") != nullptr;
        return std::make_unique<FlakyFactory>(context.report);
      });
  Environment with_bus = environment();
  with_bus.linked_plugins.push_back(&asking);
  const auto bus = std::make_shared<Bus>();
  with_bus.services["test.bus/1"] = bus;
  const CacheRegistry registry({.caches = {{"a", {.backend = "asking"}}}}, with_bus);
  EXPECT_EQ(found, bus);
  EXPECT_FALSE(found_another);
  found = nullptr;
}

TEST_F(RegistryTest, DescribeShowsWhatIsConfiguredWithoutSecrets) {
  const Config config{
      .caches = {{"a",
                  {.backend = "locmem",
                   .location = {"pages"},
                   .timeout = 90s,
                   .key_prefix = "shop",
                   .version = 3,
                   .key_warnings = false,
                   .on_error = {.read = ErrorPolicy::throw_error},
                   .options = {{"max_bytes", std::string("2MiB")},
                               {"policy", std::string("lru")}}}},
                 {"b",
                  {.backend = "dummy",
                   .location = {"redis://user:planted@cache:6379/1?key=planted", "planted=1,x",
                                "/var/run/cache.sock?planted"}}},
                 {"c", {.backend = "dummy", .location = {"planted"}}}},
      .hidden = {"caches.c.location", "caches.c.location[0]", "caches.a.options.policy"}};
  CacheRegistry registry(config, environment());
  const std::vector<CacheInfo> infos = registry.describe();
  EXPECT_THAT(infos[0].location, ElementsAre("pages"));
  EXPECT_THAT(infos[0].options,
              ElementsAre(std::pair("max_bytes", "2MiB"), std::pair("policy", "...")));
  EXPECT_EQ(infos[0].timeout, Timeout(90s));
  EXPECT_EQ(infos[0].on_error.read, ErrorPolicy::throw_error);
  EXPECT_EQ(infos[0].on_error.write, ErrorPolicy::miss);
  EXPECT_EQ(infos[0].clear, ClearScope::store);
  EXPECT_EQ(infos[0].key_function, "default");
  EXPECT_FALSE(infos[0].key_warnings);
  EXPECT_THAT(infos[1].location, ::testing::Each(::testing::Not(HasSubstr("planted"))));
  EXPECT_EQ(infos[1].location[0], "redis://cache:6379/1?...");
  EXPECT_EQ(infos[1].location[2], "/var/run/cache.sock?...");
  EXPECT_THAT(infos[2].location, ElementsAre("..."));
}

TEST_F(RegistryTest, DescribeShowsNoLocationAndNoPasswordOfAnAliasThatIsWrong) {
  Environment deferred = environment();
  deferred.defer_errors = true;
  CacheRegistry registry({.caches = {{"a",
                                      {.backend = "flaky",
                                       .location = {"planted"},
                                       .options = {{"dsn", std::string("host=a pw=planted")},
                                                   {"file", std::string("/etc/a.pem")},
                                                   {"password", std::string("planted")},
                                                   {"size", std::int64_t{5}}}}}}},
                         deferred);
  const CacheInfo info = registry.describe()[0];
  EXPECT_NE(info.error, "");
  EXPECT_THAT(info.location, ElementsAre());
  EXPECT_THAT(info.options, ElementsAre(std::pair("dsn", "..."), std::pair("file", "/etc/a.pem"),
                                        std::pair("password", "..."), std::pair("size", "5")));
}

TEST_F(RegistryTest, AWarningHandlerThatThrowsDoesNotReplaceTheErrorOfReload) {
  Environment throwing = environment();
  throwing.on_warning = [](const Warning&) { throw std::runtime_error("a test's"); };
  Config config{.caches = {{"a", {.backend = "locmem"}}}};
  config.file = "/there/is/no/such/file.json";
  CacheRegistry registry(config, throwing);
  EXPECT_THROW(registry.reload(), ConfigError);
}

TEST_F(RegistryTest, LayersWrapFromTheInsideOut) {
  CacheRegistry registry(
      {.caches = {{"a",
                   {.backend = "locmem",
                    .layers = {{.name = "mark", .options = {{"mark", std::string(">")}}},
                               {.name = "mark", .options = {{"mark", std::string("<")}}}}}}}},
      environment());
  registry["a"].set("k", "v");
  EXPECT_EQ(registry["a"].get("k"), "v<>");
  EXPECT_EQ(registry["a"].extension<TtlExtension>(), nullptr);
  EXPECT_THAT(registry.describe()[0].layers, ElementsAre("mark", "mark"));
  // Without the store's extensions pop still takes, and incr_version still moves.
  EXPECT_EQ(registry["a"].incr_version("k"), 2);
  EXPECT_EQ(registry["a"].pop("k", {.version = 2}), "v<><>");
}

TEST_F(RegistryTest, SiblingsAreFoundAndCirclesRefused) {
  CacheRegistry registry(
      {.caches = {{"a", {.backend = "borrowing", .options = {{"from", std::string("b")}}}},
                  {"b", {.backend = "locmem"}}}},
      environment());
  registry["a"].set("k", 1);
  EXPECT_EQ(registry["b"].get<int>("k"), 1);
  const Config circle{
      .caches = {{"a", {.backend = "borrowing", .options = {{"from", std::string("b")}}}},
                 {"b", {.backend = "borrowing", .options = {{"from", std::string("a")}}}}}};
  EXPECT_THAT(error_of([&] { CacheRegistry wrong(circle, environment()); }), HasSubstr("circle"));
  const Config absent{
      .caches = {{"a", {.backend = "borrowing", .options = {{"from", std::string("x")}}}}}};
  EXPECT_THAT(error_of([&] { CacheRegistry wrong(absent, environment()); }),
              HasSubstr("there is no alias \"x\""));
}

TEST_F(RegistryTest, ReconfigureSucceedsWholeOrChangesNothing) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem", .key_prefix = "old"}}}},
                         environment());
  Cache& a = registry["a"];
  EXPECT_THROW(registry.reconfigure({.caches = {{"a", {.backend = "locmem", .key_prefix = "new"}},
                                                {"b", {.backend = "nope"}}}}),
               ConfigError);
  EXPECT_EQ(registry["a"].final_key("k"), "old:1:k");
  registry.reconfigure({.caches = {{"a", {.backend = "locmem", .key_prefix = "new"}}}});
  EXPECT_EQ(a.final_key("k"), "old:1:k") << "a reference moves at operator[], not by itself";
  EXPECT_EQ(&registry["a"], &a);
  EXPECT_EQ(a.final_key("k"), "new:1:k");
}

TEST_F(RegistryTest, ARemovedAliasThrowsAndHeldReferencesGoOn) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem"}}}}, environment());
  Cache& a = registry["a"];
  a.set("k", 1);
  registry.reconfigure({.caches = {{"b", {.backend = "locmem"}}}});
  EXPECT_THROW(registry["a"], ConfigError);
  EXPECT_EQ(a.get<int>("k"), 1);
}

TEST_F(RegistryTest, ACacheInTheMiddleOfAnOperationStaysOnItsState) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem", .key_prefix = "old"}}}},
                         environment());
  registry["a"].get_or_set("k", [&] {
    registry.reconfigure({.caches = {{"a", {.backend = "locmem", .key_prefix = "new"}}}});
    EXPECT_EQ(registry["a"].final_key("k"), "old:1:k");
    return 1;
  });
  EXPECT_EQ(registry["a"].final_key("k"), "new:1:k");
}

TEST_F(RegistryTest, WhatOpenGaveOutlivesTheRegistryAndReferencesThrow) {
  auto registry = std::make_unique<CacheRegistry>(Config{.caches = {{"a", {.backend = "locmem"}}}},
                                                  environment());
  Cache& a = (*registry)["a"];
  a.set("k", 1);
  const std::unique_ptr<Cache> owned = registry->open("a");
  registry.reset();
  EXPECT_THROW(a.get("k"), CacheError);
  EXPECT_EQ(owned->get<int>("k"), 1);
}

TEST_F(RegistryTest, TheEndOfARegistryClosesTheSessionsOfItsThread) {
  std::optional<CacheRegistry> registry(
      std::in_place, Config{.caches = {{"a", {.backend = "flaky"}}}}, environment());
  (*registry)["a"].get("k");
  EXPECT_EQ(sessions, 1);
  registry.reset();
  EXPECT_EQ(sessions, 0);
}

TEST_F(RegistryTest, TheAliasesThatAThreadHasCachesOfAreItsOwn) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem"}},
                                     {"b", {.backend = "locmem"}},
                                     {"c", {.backend = "dummy"}}}},
                         environment());
  EXPECT_THAT(registry.thread_aliases(), ElementsAre());
  registry["c"];
  registry["a"];
  EXPECT_THAT(registry.thread_aliases(), ElementsAre("a", "c"));
  std::thread([&] { EXPECT_THAT(registry.thread_aliases(), ElementsAre()); }).join();
  registry.reconfigure({.caches = {{"a", {.backend = "locmem"}}}});
  registry["a"];
  EXPECT_THAT(registry.thread_aliases(), ElementsAre("a"));
}

TEST_F(RegistryTest, CloseAllClosesThisThreadsSessionsAndMakesNone) {
  CacheRegistry registry({.caches = {{"a", {.backend = "flaky"}}}}, environment());
  registry.close_all();
  EXPECT_EQ(sessions, 0);
  registry["a"].get("k");
  EXPECT_EQ(sessions, 1);
  registry.close_all();
  EXPECT_EQ(sessions, 0);
  std::thread([&] { registry["a"].get("k"); }).join();
  EXPECT_EQ(sessions, 0) << "a thread's end closes its sessions";
}

TEST_F(RegistryTest, GoingOnWithoutTheStore) {
  CacheRegistry registry({.caches = {{"a", {.backend = "flaky"}}}}, environment());
  Cache& a = registry["a"];
  failure = Failure::backend_error;
  EXPECT_FALSE(a.get("k"));
  EXPECT_FALSE(a.set("k", 1));
  EXPECT_FALSE(a.add("k", 1));
  EXPECT_FALSE(a.touch("k"));
  EXPECT_FALSE(a.contains("k"));
  EXPECT_FALSE(a.visit("k", [](std::string_view) {}));
  EXPECT_EQ(a.set_many({{"x", 1}, {"y", 2}}), (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(a.get_or_set("k", [] { return 5; }), 5);
  EXPECT_EQ(a.get_many({"1", "2", "3"})[0], "value") << "what came before the failure is kept";
  EXPECT_FALSE(a.get_many({"1", "2", "3"})[1]);
  EXPECT_THROW(a.erase("k"), BackendError);
  EXPECT_THROW(a.set("k", 1, 0s), BackendError) << "a set that means erase";
  EXPECT_THROW(a.touch("k", 0s), BackendError);
  EXPECT_THROW(a.pop("k"), BackendError);
  EXPECT_THROW(a.clear(), BackendError);
  EXPECT_THROW(a.incr("k"), BackendError);
  EXPECT_THROW(a.incr_version("k"), BackendError);
  EXPECT_THROW(a.erase_many({"k"}), BackendError);
  EXPECT_THAT(warnings.front(), HasSubstr("10.0.0.1:1: connection refused"));
  warnings.clear();
  failure = Failure::none;
  EXPECT_EQ(a.get("k"), "value");
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("the store answers again")));
}

TEST_F(RegistryTest, ThrowingInsteadIsAPolicyForReadsAndWrites) {
  CacheRegistry registry(
      {.caches = {{"r", {.backend = "flaky", .on_error = {.read = ErrorPolicy::throw_error}}},
                  {"w", {.backend = "flaky", .on_error = {.write = ErrorPolicy::throw_error}}}}},
      environment());
  failure = Failure::backend_error;
  EXPECT_THROW(registry["r"].get("k"), BackendError);
  EXPECT_THROW(registry["r"].get_many({"1", "2"}), BackendError);
  EXPECT_FALSE(registry["r"].set("k", 1));
  EXPECT_THROW(registry["w"].set("k", 1), BackendError);
  EXPECT_FALSE(registry["w"].get("k"));
}

TEST_F(RegistryTest, ABackendErrorNamesAliasAndOperationOnce) {
  CacheRegistry registry(
      {.caches = {{"a", {.backend = "flaky", .on_error = {.read = ErrorPolicy::throw_error}}}}},
      environment());
  const auto error_of = [](const std::function<void()>& action) -> std::string {
    try {
      action();
    } catch (const BackendError& error) {
      return std::string(to_string(error.kind())) + " " + error.server() + " " + error.what();
    }
    return "none";
  };
  failure = Failure::backend_error;
  EXPECT_EQ(error_of([&] { registry["a"].get("k"); }),
            "unreachable 10.0.0.1:1 a: get: 10.0.0.1:1: connection refused");
  EXPECT_EQ(error_of([&] { registry["a"].erase("k"); }),
            "unreachable 10.0.0.1:1 a: erase: 10.0.0.1:1: connection refused");
  EXPECT_FALSE(registry["a"].set("k", 1));
  EXPECT_THAT(warnings.back(), HasSubstr("connection refused"));
  EXPECT_THAT(warnings.back(), Not(HasSubstr("a: set"))) << "the warning has its alias already";
  failure = Failure::standard;
  EXPECT_EQ(error_of([&] { registry["a"].erase("k"); }), "storage  a: erase: flaky threw a bug");
}

TEST_F(RegistryTest, WhateverAPluginThrowsBecomesABackendErrorThatNamesIt) {
  CacheRegistry registry({.caches = {{"a", {.backend = "flaky"}}}}, environment());
  for (const Failure how : {Failure::standard, Failure::foreign, Failure::no_memory}) {
    failure = how;
    EXPECT_FALSE(registry["a"].get("k"));
    try {
      registry["a"].erase("k");
      FAIL();
    } catch (const BackendError& error) {
      EXPECT_THAT(error.what(), HasSubstr("flaky"));
    }
  }
}

TEST_F(RegistryTest, ReconfiguringInsideAKeyWarningDoesNotDestroyWhatRuns) {
  std::optional<CacheRegistry> registry;
  int calls = 0;
  Environment reconfiguring = environment();
  reconfiguring.on_warning = [&](const Warning&) {
    if (++calls > 1) return;
    registry->reconfigure({.caches = {{"a", {.backend = "locmem", .key_prefix = "new"}}}});
    EXPECT_EQ((*registry)["a"].final_key("k"), "old:1:k") << "busy: it stays";
  };
  registry.emplace(Config{.caches = {{"a", {.backend = "locmem", .key_prefix = "old"}}}},
                   reconfiguring);
  EXPECT_TRUE((*registry)["a"].set("a space", 1));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ((*registry)["a"].final_key("k"), "new:1:k");
}

TEST_F(RegistryTest, ACounterThatTheStoreRefusesIsAnErrorAndNoEndlessLoop) {
  CacheRegistry registry(
      {.caches = {{"a", {.backend = "locmem", .options = {{"max_bytes", std::int64_t{120}}}}}}},
      environment());
  EXPECT_THROW(registry["a"].incr(std::string(200, 'k'), 1, {.initial = 0}), BackendError);
}

TEST_F(RegistryTest, AnInitialValueCountsOnlyWhereThereIsNone) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem"}}}}, environment());
  registry["a"].set("n", 5);
  EXPECT_EQ(registry["a"].incr("n", 1, {.initial = INT64_MAX}), 6);
}

ValueError::Kind kind_of(const std::function<void()>& operation) {
  try {
    operation();
  } catch (const ValueError& error) {
    return error.kind();
  }
  ADD_FAILURE() << "threw no ValueError";
  return ValueError::Kind::invalid_value;
}

TEST_F(RegistryTest, AValueErrorSaysItsKind) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem"}}, {"b", {.backend = "flaky"}}}},
                         environment());
  Cache& a = registry["a"];
  a.set("text", "nine");
  a.set("most", INT64_MAX);
  EXPECT_EQ(kind_of([&] { a.incr("text"); }), ValueError::Kind::not_a_counter);
  EXPECT_EQ(kind_of([&] { a.incr("most"); }), ValueError::Kind::overflow);
  EXPECT_EQ(kind_of([&] { a.decr("most", INT64_MIN); }), ValueError::Kind::overflow);
  EXPECT_EQ(kind_of([&] { a.incr_version("text", INT_MAX); }), ValueError::Kind::overflow);
  EXPECT_EQ(kind_of([&] { a.incr("none"); }), ValueError::Kind::not_found);
  failure = Failure::value_error;
  EXPECT_EQ(kind_of([&] { registry["b"].erase("k"); }), ValueError::Kind::invalid_value);
  EXPECT_EQ(to_string(ValueError::Kind::not_a_counter), "not_a_counter");
}

TEST_F(RegistryTest, AKeyNotFoundOfAStoreStaysOne) {
  CacheRegistry registry({.caches = {{"a", {.backend = "flaky"}}}}, environment());
  failure = Failure::key_not_found;
  try {
    registry["a"].erase("k");
    ADD_FAILURE() << "threw nothing";
  } catch (const KeyNotFound& error) {
    EXPECT_THAT(error.what(), HasSubstr("a: erase of the key \":1:k\": there is none"));
  }
}

// A store that memcached's keys hold for, and one that judges itself.
class PickyFactory final : public BackendFactory {
 public:
  explicit PickyFactory(KeyRules rules) : rules_(rules) {}
  std::unique_ptr<Backend> connect() override { return std::make_unique<FlakySession>(nullptr); }
  StoreTraits traits() const noexcept override { return {.key_rules = rules_}; }
  void validate_key(std::string_view, FunctionRef<void(std::string_view)>) const override {
    throw InvalidKey("it is not liked");
  }

 private:
  KeyRules rules_;
};

constexpr PluginDescriptor picky = backend_plugin(
    "picky", "1.0",
    [](const OptionReader& options, const BackendContext&) -> std::unique_ptr<BackendFactory> {
      const bool strict = options.boolean("strict", false);
      return std::make_unique<PickyFactory>(strict ? KeyRules::strict : KeyRules::custom);
    });

TEST_F(RegistryTest, AnInvalidKeySaysTheKeyAndTheReason) {
  Environment with_picky = environment();
  with_picky.linked_plugins.push_back(&picky);
  CacheRegistry registry(
      {.caches = {{"custom", {.backend = "picky", .key_prefix = "shop"}},
                  {"strict", {.backend = "picky", .options = {{"strict", true}}}}}},
      with_picky);
  const auto refused = [&](const char* alias, const std::string& key) {
    try {
      registry[alias].get(key);
    } catch (const InvalidKey& error) {
      return std::pair(error.key(), error.reason());
    }
    ADD_FAILURE() << "threw no InvalidKey";
    return std::pair<std::string, std::string>();
  };
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(refused("custom", "k"), Pair("shop:1:k", "it is not liked"));
  EXPECT_EQ(refused("strict", "a b"), Pair(":1:a b", "it has a space or a control character"));
  EXPECT_EQ(refused("strict", std::string(300, 'k')).second, "it is 303 bytes long, more than 250");
}

TEST_F(RegistryTest, IncrVersionKeepsAnEntryWhoseKeyHasNoVersion) {
  register_key_function("without_version", [](std::string& out, std::string_view key,
                                              std::string_view, int) { out.append(key); });
  CacheRegistry registry(
      {.caches = {{"a", {.backend = "locmem", .key_function = "without_version"}}}}, environment());
  registry["a"].set("k", 1);
  EXPECT_EQ(registry["a"].incr_version("k"), 2);
  EXPECT_EQ(registry["a"].get<int>("k"), 1);
}

TEST_F(RegistryTest, WaitersOfAComputationGetAValueThatLooksLikeAFrameWhole) {
  CacheRegistry registry({.caches = {{"a", {.backend = "dummy"}}}}, environment());
  const std::string value("\xC1pc\x01\0\0\0\0inner", 13);
  std::atomic<bool> computing{false};
  std::atomic<bool> joining{false};
  std::thread owner([&] {
    EXPECT_EQ(registry["a"].get_or_set("k",
                                       [&] {
                                         computing = true;
                                         while (!joining) std::this_thread::yield();
                                         std::this_thread::sleep_for(500ms);  // it joins
                                         return value;
                                       }),
              value);
  });
  while (!computing) std::this_thread::yield();
  Cache& cache = registry["a"];
  joining = true;
  EXPECT_EQ(cache.get_or_set("k", [] { return std::string("computed again"); }), value);
  owner.join();
}

TEST_F(RegistryTest, KeysOfASinglePassRangeAreKept) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem"}}}}, environment());
  registry["a"].set_many({{"one", 1}, {"two", 2}, {"three", 3}});
  // Each word is shown in the same string.
  struct Words {
    std::istringstream& in;
    auto begin() const { return std::istream_iterator<std::string>(in); }
    auto end() const { return std::istream_iterator<std::string>(); }
  };
  std::istringstream in("one two three");
  const auto values = registry["a"].get_many<int>(Words{in});
  EXPECT_THAT(values, ElementsAre(1, 2, 3));
}

TEST_F(RegistryTest, TheSessionThatBackendShowedOutlivesNestedCalls) {
  CacheRegistry registry({.caches = {{"a", {.backend = "flaky"}}}}, environment());
  Backend* const session = &registry["a"].backend();
  registry["a"].visit("k", [&](std::string_view) { registry["a"].contains("other"); });
  EXPECT_EQ(&registry["a"].backend(), session);
}

TEST_F(RegistryTest, WhatAStoreReportsComesWhenItIsDone) {
  CacheRegistry registry({.caches = {{"a", {.backend = "flaky"}}}}, environment());
  EXPECT_FALSE(registry["a"].set("k", "too large"));
  EXPECT_THAT(warnings, ElementsAre("it is too large"));
}

TEST_F(RegistryTest, ClearOfAPrefixNeedsAStoreThatCan) {
  const auto error = error_of([&] {
    CacheRegistry registry({.caches = {{"a", {.backend = "flaky", .clear = ClearScope::prefix}}}},
                           environment());
  });
  EXPECT_THAT(error, HasSubstr("caches.a.clear"));
  EXPECT_THAT(error, HasSubstr("raise \"version\""));
}

TEST_F(RegistryTest, KeyWarningsCanBeSwitchedOff) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem", .key_warnings = false}}}},
                         environment());
  registry["a"].set("with space", 1);
  EXPECT_TRUE(warnings.empty());
}

TEST_F(RegistryTest, OpenGivesACacheThatBelongsToTheCaller) {
  CacheRegistry registry({.caches = {{"a", {.backend = "locmem"}}}}, environment());
  const auto first = registry.open("a");
  const auto second = registry.open("a");
  EXPECT_NE(first.get(), second.get());
  first->set("k", 1);
  EXPECT_EQ(second->get<int>("k"), 1);
}

}  // namespace
}  // namespace polycache
