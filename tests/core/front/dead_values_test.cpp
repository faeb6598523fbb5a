// A value is decoded before its tags are known to be current, and between two looks of get_or_set()
// anything may happen to an entry: none of it may reach the caller, or take from the caller what
// was computed. Two aliases stand for two processes; a hook acts between two calls of the store.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/around_layer.h"
#include "polycache/author/plugin.h"
#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/manual_executor.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using testing::ChaosAct;

using Keys = std::span<const std::string>;
using Values = std::vector<std::optional<std::string>>;

// Called before (true) and after (false) each call of a session of the alias "mine".
std::function<void(const StoreCall&, bool before)> hook;

class HookLayer final : public AroundLayer {
 public:
  explicit HookLayer(std::unique_ptr<Backend> inner)
      : AroundLayer(std::move(inner), {.early_refusals = false}) {}
  StoreAnswer around(const StoreCall& call, StoreGo go) override {
    if (hook) hook(call, true);
    const StoreAnswer answer = go(call.deliver);
    if (hook) hook(call, false);
    return answer;
  }
};

// Its traits say nothing of the store: it could be one that processes share, with replicas.
class HookFactory final : public AroundLayerFactory {
 public:
  explicit HookFactory(std::shared_ptr<BackendFactory> inner)
      : AroundLayerFactory(std::move(inner), {.early_refusals = false}) {}
  StoreTraits traits() const noexcept override { return {}; }

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<HookLayer>(std::move(session));
  }
};

constexpr PluginDescriptor hook_layer = layer_plugin(
    "hook", POLYCACHE_VERSION,
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<HookFactory>(context.inner);
    });

CacheConfig alias_with(std::vector<LayerConfig> layers) {
  return {
      .backend = "locmem", .location = {"shared"}, .timeout = 10min, .layers = std::move(layers)};
}

bool reads_entry(const StoreCall& call) {
  return call.access == Access::read && call.op != StoreOp::contains && call.size() > 0 &&
         call.key(0).ends_with(":k");
}

class DeadValues : public ::testing::Test {
 protected:
  ~DeadValues() override { hook = nullptr; }

  static Config config() {
    Config config{.caches = {{"mine", alias_with({{.name = "hook"}, {.name = "chaos"}})},
                             {"process", alias_with({{.name = "hook"}})},
                             {"other", alias_with({})}}};
    config.caches["remembering"] = alias_with({});
    config.caches["remembering"].tag_version_cache = 150ms;
    return config;
  }
  Environment environment() {
    Environment environment;
    environment.clock = &clock_;
    environment.executor = executor_;
    environment.linked_plugins = {&locmem::plugin, &testing::chaos_layer, &hook_layer};
    return environment;
  }

  // The next call of the store works, and the one after it fails.
  void fails_after_one() {
    testing::Chaos::named("mine", clock_)
        ->set({.script = {{.act = ChaosAct::pass}, {.act = ChaosAct::fail}}});
  }
  // Runs f before the nth time that a session reads the entry in this thread.
  template <class F>
  void before_read(int nth, F f) {
    hook = [this, nth, f, me = std::this_thread::get_id()](const StoreCall& call, bool before) {
      if (!before || std::this_thread::get_id() != me || !reads_entry(call)) return;
      if (++reads_ == nth) f();
    };
  }
  // Starts another thread that waits for the computation of this one.
  void start_waiter() {
    waiter_ = std::thread([this] {
      const TagRecorder recorder;
      waited_for_ = registry_["mine"].get_or_set("k", [] { return "by the waiter"; });
      recorded_ = recorder.names();
    });
    while (mine_.statistics().waits == 0) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(20ms);
  }

  testing::ManualClock clock_;
  std::shared_ptr<testing::ManualExecutor> executor_ = std::make_shared<testing::ManualExecutor>();
  CacheRegistry registry_{config(), environment()};
  Cache& mine_ = registry_["mine"];
  Cache& other_ = registry_["other"];
  int reads_ = 0;
  std::thread waiter_;
  std::string waited_for_;
  std::vector<std::string> recorded_;
};

constexpr const char* computed = "computed here, longer than a short string";

TEST_F(DeadValues, AreNotReturnedIfTheirVersionsCannotBeRead) {
  other_.set("k", "dead", {.tags = {"a"}});
  other_.erase_tag("a");
  fails_after_one();
  EXPECT_EQ(mine_.get("k"), std::nullopt);
  fails_after_one();
  EXPECT_EQ(mine_.get_many({"k"}).front(), std::nullopt);
  fails_after_one();
  EXPECT_TRUE(mine_.get_many_map({"k"}).empty());
  fails_after_one();
  EXPECT_FALSE(mine_.visit("k", [](std::string_view) { ADD_FAILURE(); }));
  fails_after_one();
  EXPECT_EQ(mine_.get_or_set("k", [] { return computed; }), computed);
  EXPECT_EQ(mine_.statistics().hits, 0U);
}

TEST_F(DeadValues, ARememberedVersionLeavesTheComputedValueToItsCaller) {
  Cache& cache = registry_["remembering"];
  other_.set("k", "the old value, longer than a short string", {.tags = {"a"}});
  EXPECT_TRUE(cache.get("k"));
  other_.erase_tag("a");
  EXPECT_EQ(cache.get_or_set("k", [] { return computed; }, {.tags = {"a"}}), computed);
}

TEST_F(DeadValues, AFasterProcessWhoseTagIsErasedLeavesTheComputedValueToItsCaller) {
  int reads = 0;
  hook = [&](const StoreCall& call, bool before) {
    if (!before || call.size() != 1 || call.access != Access::read) return;
    if (call.key(0).ends_with("~t:a") && ++reads == 2) other_.erase_tag("a");
  };
  const std::string got = mine_.get_or_set("k", [&] {
    other_.set("k", "of another process, longer than a short string", {.tags = {"a"}});
    return computed;
  });
  EXPECT_EQ(got, computed);
}

TEST_F(DeadValues, AFasterProcessWithAnotherTypeLeavesTheComputedValueToItsCaller) {
  const int got = mine_.get_or_set("k", [&] {
    other_.set("k", "of a newer version of the program");
    return 42;
  });
  EXPECT_EQ(got, 42);
}

TEST_F(DeadValues, AFasterProcessThatFindsNothingLeavesTheTagsToTheThreadsThatWait) {
  bool is_computed = false;
  hook = [&, me = std::this_thread::get_id()](const StoreCall& call, bool before) {
    if (!before || std::this_thread::get_id() != me || !is_computed || !reads_entry(call)) return;
    is_computed = false;
    other_.erase("k");
    other_.get_or_set("k", []() -> std::optional<std::string> { return std::nullopt; },
                      {.negative_timeout = 10s});
  };
  mine_.get_or_set("k",
                   [&]() -> std::optional<std::string> {
                     start_waiter();
                     other_.set("k", "of another process");
                     is_computed = true;
                     return computed;
                   },
                   {.tags = {"a"}, .negative_timeout = 10s});
  waiter_.join();
  EXPECT_EQ(waited_for_, computed);
  EXPECT_EQ(recorded_, std::vector<std::string>{"a"});
}

TEST_F(DeadValues, AFailedRefreshOfManyReturnsWhatWasGoodAlthoughItsTagIsErased) {
  const LoadOptions options{.timeout = 100s, .tags = {"a"}, .refresh_after = 0.5};
  mine_.get_or_set_many<std::string>(
      {"k"}, [](Keys) { return Values{computed}; }, options);
  clock_.advance(60s);
  before_read(2, [&] { other_.erase_tag("a"); });
  const Values got = mine_.get_or_set_many<std::string>(
      {"k"}, [](Keys) -> Values { throw std::runtime_error("the origin is down"); }, options);
  EXPECT_EQ(got, Values{computed});
}

TEST_F(DeadValues, ARefreshOfManyThatAnotherProcessDoesReturnsWhatWasGood) {
  const LoadOptions options{.timeout = 100s, .refresh_after = 0.5, .lease = 10s};
  mine_.get_or_set_many<std::string>(
      {"k"}, [](Keys) { return Values{computed}; }, options);
  clock_.advance(60s);
  std::atomic<bool> computing{false};
  std::atomic<bool> ending{false};
  std::thread theirs;
  before_read(2, [&] {
    other_.erase("k");
    theirs = std::thread([&] {
      registry_["process"].get_or_set(
          "k",
          [&] {
            computing = true;
            while (!ending) std::this_thread::sleep_for(1ms);
            return "theirs";
          },
          options);
    });
    while (!computing) std::this_thread::sleep_for(1ms);
  });
  std::thread ender([&] {
    while (!computing) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(50ms);
    ending = true;
  });
  const Values got = mine_.get_or_set_many<std::string>(
      {"k"}, [](Keys) { return Values{"new"}; }, options);
  ender.join();
  if (theirs.joinable()) theirs.join();
  ASSERT_TRUE(got.front());
  EXPECT_THAT(*got.front(), ::testing::AnyOf(computed, "new", "theirs"));
}

TEST_F(DeadValues, ThreadsThatWaitForManyGetTheTagsHoweverLong) {
  const Tags tags{"a tag with a long name, number 1", "a tag with a long name, number 2"};
  before_read(2, [&] {
    start_waiter();
    other_.set("k", "of another process", {.tags = tags});
  });
  const Values got =
      mine_.get_or_set_many<std::string>({"k"}, [](Keys) { return Values{computed}; });
  waiter_.join();
  EXPECT_EQ(got, Values{"of another process"});
  EXPECT_EQ(waited_for_, "of another process");
  EXPECT_EQ(recorded_, tags.names());
}

TEST_F(DeadValues, ABackgroundRefreshDoesNotSeeOneWhoseVersionCannotBeRead) {
  const LoadOptions options{.timeout = 100s, .refresh_after = 0.5};
  bool saw = false;
  const auto refresh = in_background([&](Load& load) -> Loaded<std::string> {
    saw = load.has_stale();
    if (saw) return load.not_modified();
    return std::string("new");
  });
  mine_.get_or_set("k", in_background([](Load& load) -> Loaded<std::string> {
                     load.tag("a");
                     return std::string("dead");
                   }),
                   options);
  clock_.advance(60s);
  EXPECT_EQ(mine_.get_or_set("k", refresh, options), "dead");  // not yet
  other_.erase_tag("a");
  fails_after_one();
  executor_->run_all();
  EXPECT_FALSE(saw);
}

TEST_F(DeadValues, AreNotReturnedByManyThatWaitForNothing) {
  other_.set("k", "dead", {.tags = {"a"}});
  other_.erase_tag("a");
  std::atomic<bool> computing{false};
  std::atomic<bool> ending{false};
  std::thread owner([&] {
    registry_["mine"].get_or_set("k", [&]() -> std::optional<std::string> {
      computing = true;
      while (!ending) std::this_thread::sleep_for(1ms);
      return std::nullopt;
    });
  });
  while (!computing) std::this_thread::sleep_for(1ms);
  fails_after_one();
  std::thread ender([&] {
    while (mine_.statistics().waits == 0) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(10ms);
    ending = true;
  });
  const Values got =
      mine_.get_or_set_many<std::string>({"k"}, [](Keys) { return Values{computed}; });
  owner.join();
  ender.join();
  EXPECT_NE(got, Values{"dead"});
}

TEST_F(DeadValues, AnEntryOfANewerFormatIsNoLease) {
  std::string frame("\xC1pc\x01\x30\x20\0\0",
                    8);  // one flag that is not known, and that of a lease
  frame += std::string(24, '\0') + "payload";
  mine_.backend().put(":1:k", frame, Ttl(1h), PutMode::always);
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(mine_.get_or_set("k", [] { return computed; }, {.lease = 10s}), computed);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s) << "it waited for the end of a lease";
}

}  // namespace
}  // namespace polycache
