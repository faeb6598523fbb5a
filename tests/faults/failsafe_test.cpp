// What the core does for every store, third parties' included, when it fails.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/around_layer.h"
#include "polycache/author/extension.h"
#include "polycache/author/layer.h"
#include "polycache/author/plugin.h"
#include "polycache/backends/locmem.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/registry.h"
#include "polycache/testing/manual_clock.h"
#include "support/server.h"

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

namespace polycache {
namespace {

using Kind = BackendError::Kind;
using State = CircuitBreaker::State;

enum class Works { all, reads, nothing };
std::atomic<Works> works{Works::all};
std::atomic<Kind> kind{Kind::unreachable};
std::atomic<int> calls{0};
std::atomic<bool> has_news{false};

// A store of a program's own, with the five required functions and nothing else.
class Session final : public Backend {
 public:
  explicit Session(std::function<void(const Warning&)> report) : report_(std::move(report)) {}

  bool get(std::string_view, ValueSink sink) override {
    call(Works::reads);
    if (has_news) report_({.kind = Warning::Kind::other, .message = "news", .count = 7});
    sink("value");
    return true;
  }
  bool put(std::string_view, std::string_view, Ttl, PutMode) override { return write(); }
  bool touch(std::string_view, Ttl, ValueSink) override { return write(); }
  bool erase(std::string_view) override { return write(); }
  void clear() override { write(); }

 private:
  const std::function<void(const Warning&)> report_;

  static void call(Works needed) {
    ++calls;
    if (works > needed) throw BackendError(kind, "10.0.0.1:1", "it does not answer");
  }
  static bool write() {
    call(Works::all);
    return true;
  }
};

class Factory final : public BackendFactory {
 public:
  explicit Factory(std::function<void(const Warning&)> report) : report_(std::move(report)) {
    if (has_news) report_({.kind = Warning::Kind::other, .message = "news of the making"});
  }
  std::unique_ptr<Backend> connect() override { return std::make_unique<Session>(report_); }

 private:
  const std::function<void(const Warning&)> report_;
};

constexpr PluginDescriptor third_party = backend_plugin(
    "third_party", "1.0",
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<Factory>(context.report);
    });

// A store made of another alias. It hides what that alias's store can do, breakers included.
class Around final : public BackendFactory {
 public:
  explicit Around(std::shared_ptr<BackendFactory> other) : other_(std::move(other)) {}
  std::unique_ptr<Backend> connect() override {
    return std::make_unique<Through>(other_->connect());
  }
  // Its own breaker must not be the one that the test sees.
  StoreTraits traits() const noexcept override { return {.breaks_circuits = true}; }

 private:
  class Through final : public Layer {
    using Layer::Layer;
  };
  std::shared_ptr<BackendFactory> other_;
};

constexpr PluginDescriptor composite = backend_plugin(
    "composite", "1.0",
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<Around>(context.sibling("a"));
    });

struct Heard {
  Warning::Kind kind;
  std::string message;
  std::uint64_t count;
};

class Failsafe : public ::testing::Test {
 protected:
  Failsafe() {
    works = Works::all;
    kind = Kind::unreachable;
    calls = 0;
    has_news = false;
  }

  Environment environment() {
    return {.clock = &clock_,
            .on_warning =
                [this](const Warning& w) {
                  heard_.push_back({w.kind, std::string(w.message), w.count});
                },
            .linked_plugins = {&third_party, &composite, &locmem::plugin}};
  }
  std::vector<Warning::Kind> kinds() {
    std::vector<Warning::Kind> kinds;
    for (const Heard& one : heard_) kinds.push_back(one.kind);
    heard_.clear();
    return kinds;
  }

  testing::ManualClock clock_;
  std::vector<Heard> heard_;
  CacheRegistry registry_{{.caches = {{"a", {.backend = "third_party"}},
                                      {"strict",
                                       {.backend = "third_party",
                                        .on_error = {.read = ErrorPolicy::throw_error,
                                                     .write = ErrorPolicy::throw_error}}}}},
                          environment()};
  Cache& a_ = registry_["a"];
};

TEST_F(Failsafe, AFailingStoreIsNotCalledUntilItRecovers) {
  works = Works::nothing;
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(a_.get("k"));
  EXPECT_EQ(calls, 5);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(a_.get("k"));
  EXPECT_FALSE(a_.set("k", 1));
  EXPECT_EQ(a_.get_or_set("k", [] { return 3; }), 3);
  EXPECT_EQ(calls, 5) << "open: not asked any more";
  EXPECT_THAT(kinds(), ElementsAre(Warning::Kind::degraded, Warning::Kind::breaker_opened));

  clock_.advance(1300ms);
  EXPECT_FALSE(a_.get("k"));
  EXPECT_EQ(calls, 6) << "one probe";
  EXPECT_FALSE(a_.get("k"));
  EXPECT_EQ(calls, 6);

  works = Works::all;
  clock_.advance(2500ms);
  EXPECT_EQ(a_.get("k"), "value") << "the probe is an operation like others";
  EXPECT_TRUE(a_.set("k", 1));
  EXPECT_THAT(kinds(), ElementsAre(Warning::Kind::breaker_closed, Warning::Kind::recovered));
}

TEST_F(Failsafe, WhatAStoreCannotDoIsNoFailureOfIt) {
  EXPECT_THROW(a_.incr("n"), BackendError);
  EXPECT_EQ(a_.get("k"), "value");
  EXPECT_THAT(heard_, IsEmpty());
  EXPECT_EQ(a_.statistics().errors, 0U);
  ASSERT_FALSE(registry_.health().empty());
  EXPECT_EQ(registry_.health().front().last_error, "");
}

TEST_F(Failsafe, AnAliasThatAnotherOneUsesHasOneBreakerForBoth) {
  CacheRegistry registry(
      {.caches = {{"a", {.backend = "third_party"}}, {"both", {.backend = "composite"}}}},
      environment());
  Cache& both = registry["both"];
  EXPECT_EQ(both.get("k"), "value");
  calls = 0;
  works = Works::nothing;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(both.get("k"));
  EXPECT_EQ(calls, 5) << "open: not asked any more";
  EXPECT_THAT(kinds(), Contains(Warning::Kind::breaker_opened));
  ASSERT_EQ(registry.health().front().alias, "a");
  EXPECT_EQ(registry.health().front().breaker, State::open);

  calls = 0;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(registry["a"].get("k"));
  EXPECT_EQ(calls, 0) << "the alias itself does not ask either";

  works = Works::all;
  clock_.advance(60s);
  EXPECT_EQ(both.get("k"), "value");
  EXPECT_EQ(registry["a"].get("k"), "value");
  EXPECT_EQ(registry.health().front().breaker, State::closed);
  EXPECT_THAT(kinds(), Contains(Warning::Kind::breaker_closed));
}

TEST_F(Failsafe, WhatMustNotBeLostThrowsWhileTheBreakerIsOpen) {
  works = Works::nothing;
  for (int i = 0; i < 5; ++i) a_.get("k");
  try {
    a_.erase("k");
    FAIL();
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), Kind::unreachable);
    EXPECT_THAT(error.what(), HasSubstr("a: erase: the store was not asked"));
    EXPECT_THAT(error.what(), HasSubstr("next attempt in"));
    EXPECT_THAT(error.what(), HasSubstr("it does not answer"));
  }
  EXPECT_THROW(a_.incr("k"), BackendError);
  EXPECT_THROW(a_.clear(), BackendError);
  EXPECT_EQ(calls, 5);
}

// Each step could cost another time limit.
TEST_F(Failsafe, GetOrSetDoesNotCallAFailedStoreAgain) {
  works = Works::nothing;
  kind = Kind::timeout;
  EXPECT_EQ(a_.get_or_set("k", [] { return std::string("made"); }), "made");
  EXPECT_EQ(calls, 1) << "after the read there was no second look and no write";
  works = Works::all;
  // The bytes that are there are no int, so they are replaced; the write is what fails.
  EXPECT_EQ(a_.get_or_set("k",
                          [] {
                            works = Works::nothing;
                            return 7;
                          }),
            7);
  EXPECT_EQ(calls, 4) << "a look, a second look, and one write";
}

TEST_F(Failsafe, UnderThePolicyThrowAnOpenBreakerThrows) {
  Cache& strict = registry_["strict"];
  works = Works::nothing;
  for (int i = 0; i < 8; ++i) EXPECT_THROW(strict.get("k"), BackendError);
  EXPECT_EQ(calls, 5);
  EXPECT_THROW(strict.set("k", 1), BackendError);
  works = Works::all;
  clock_.advance(2s);
  EXPECT_EQ(strict.get("k"), "value");
  EXPECT_THAT(kinds(), ElementsAre(Warning::Kind::breaker_opened, Warning::Kind::breaker_closed,
                                   Warning::Kind::recovered));
}

TEST_F(Failsafe, AStoreThatRefusesWritesIsStillRead) {
  works = Works::reads;
  kind = Kind::read_only;
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(a_.set("k", 1));
  EXPECT_EQ(calls, 5);
  EXPECT_EQ(a_.get("k"), "value");
  EXPECT_EQ(registry_.health()[0].breaker, State::open);
  works = Works::all;
  clock_.advance(2s);
  EXPECT_TRUE(a_.set("k", 1));
}

TEST_F(Failsafe, FailuresAreReportedOnceThenSummedUp) {
  works = Works::nothing;
  for (int second = 0; second < 130; ++second) {
    for (int i = 0; i < 10; ++i) a_.get("k");
    clock_.advance(1s);
  }
  works = Works::all;
  clock_.advance(40s);
  EXPECT_EQ(a_.get("k"), "value");
  std::uint64_t told = 0;
  std::vector<std::string> degraded;
  for (const Heard& one : heard_) {
    if (one.kind != Warning::Kind::degraded) continue;
    degraded.push_back(one.message);
    told += one.count;
  }
  EXPECT_THAT(degraded.at(0), HasSubstr("get: continuing without the store: 10.0.0.1:1"));
  EXPECT_GE(degraded.size(), 2U);
  EXPECT_LE(degraded.size(), 4U) << "one a minute";
  EXPECT_THAT(degraded.at(1), HasSubstr("operations failed in the last"));
  ASSERT_EQ(heard_.back().kind, Warning::Kind::recovered);
  EXPECT_EQ(told + heard_.back().count - 1, 1300U) << "each is counted";
}

TEST_F(Failsafe, ASecondOutageIsSummedUpEvenIfItIsOver) {
  works = Works::nothing;
  a_.get("k");
  works = Works::all;
  a_.get("k");
  works = Works::nothing;
  for (int i = 0; i < 3; ++i) a_.get("k");
  works = Works::all;
  a_.get("k");
  EXPECT_THAT(kinds(), ElementsAre(Warning::Kind::degraded, Warning::Kind::recovered));
  clock_.advance(61s);
  a_.get("k");
  ASSERT_THAT(heard_, SizeIs(2));
  EXPECT_EQ(heard_[0].kind, Warning::Kind::degraded);
  EXPECT_EQ(heard_[0].count, 3U);
  EXPECT_THAT(heard_[0].message, HasSubstr("3 operations failed in the last 61 s"));
  EXPECT_EQ(heard_[1].kind, Warning::Kind::recovered);
  clock_.advance(61s);
  a_.get("k");
  EXPECT_THAT(heard_, SizeIs(2));
}

TEST_F(Failsafe, SuccessfulReadsAreNoRecoveryOfWrites) {
  works = Works::reads;
  kind = Kind::storage;
  EXPECT_FALSE(a_.set("k", 1));
  EXPECT_EQ(a_.get("k"), "value");
  EXPECT_THAT(kinds(), ElementsAre(Warning::Kind::degraded));
  works = Works::all;
  EXPECT_EQ(a_.get("k"), "value");
  EXPECT_THAT(kinds(), IsEmpty());
  EXPECT_TRUE(a_.set("k", 1));
  EXPECT_THAT(kinds(), ElementsAre(Warning::Kind::recovered));
}

TEST_F(Failsafe, EachKindOfFailureIsReportedOnce) {
  works = Works::nothing;
  for (const Kind one : {Kind::timeout, Kind::unreachable, Kind::timeout, Kind::unreachable}) {
    kind = one;
    a_.get("k");
  }
  EXPECT_THAT(kinds(), ElementsAre(Warning::Kind::degraded, Warning::Kind::degraded));
}

TEST_F(Failsafe, AStoreThatComesAndGoesDoesNotFloodTheLog) {
  for (int i = 0; i < 1000; ++i) {
    works = i % 3 == 0 ? Works::nothing : Works::all;
    a_.get("k");
    clock_.advance(10ms);
  }
  EXPECT_THAT(heard_, SizeIs(2)) << "degraded, recovered; the rest is summed up later";
}

TEST_F(Failsafe, AnErrorThatWasThrownDoesNotTakeTheWarningOfOneThatWasNot) {
  works = Works::nothing;
  EXPECT_THROW(a_.erase("k"), BackendError);
  EXPECT_THAT(heard_, IsEmpty());
  EXPECT_FALSE(a_.get("k"));
  EXPECT_THAT(kinds(), ElementsAre(Warning::Kind::degraded));
}

TEST_F(Failsafe, AnErrorOfOneKeyIsASignOfLife) {
  works = Works::nothing;
  for (int i = 0; i < 4; ++i) a_.get("k");
  works = Works::all;
  EXPECT_THROW(a_.incr("k"), CacheError) << "the store cannot count; it was asked and answered";
  works = Works::nothing;
  for (int i = 0; i < 4; ++i) a_.get("k");
  EXPECT_EQ(registry_.health()[0].breaker, State::closed);
}

// --- several servers ---

// A store of two servers, "a" for the keys that begin so and "b" for all others, each with a
// breaker of its own. It says beforehand what it would refuse.
class Servers {
 public:
  explicit Servers(const Clock& clock) : breakers_{CircuitBreaker(clock), CircuitBreaker(clock)} {}

  static std::size_t number_of(std::string_view key) { return key.starts_with(":1:a") ? 0 : 1; }
  static std::string name_of(std::string_view key) { return number_of(key) == 0 ? "a" : "b"; }
  CircuitBreaker& breaker(std::string_view key) { return breakers_[number_of(key)]; }

  std::array<std::atomic<bool>, 2> down{};
  std::atomic<int> asked{0};    // by calls that got to a server
  std::atomic<int> refused{0};  // calls that were made although they are refused
  mutable std::atomic<int> questions{0};

  // What an operation about that key does.
  void call(std::string_view key, Access access) {
    CircuitBreaker& breaker = this->breaker(key);
    if (!breaker.admit(access)) {
      ++refused;
      throw BackendError(Kind::unreachable, name_of(key), "it is left alone");
    }
    ++asked;
    if (!down[number_of(key)]) {
      breaker.succeeded(access);
      return;
    }
    breaker.failed(access, Kind::unreachable);
    throw BackendError(Kind::unreachable, name_of(key), "it does not answer");
  }
  bool admits(std::string_view key, Access access) const {
    ++questions;
    return !breakers_[number_of(key)].refuses(access);
  }
  bool admits_all() const {
    return std::all_of(breakers_.begin(), breakers_.end(), [](const CircuitBreaker& breaker) {
      return breaker.state(Access::write) == State::closed;
    });
  }

 private:
  std::array<CircuitBreaker, 2> breakers_;
};

class SessionOfServers final : public Backend, private AdmissionExtension {
 public:
  explicit SessionOfServers(std::shared_ptr<Servers> servers) : servers_(std::move(servers)) {}

  bool get(std::string_view key, ValueSink sink) override {
    servers_->call(key, Access::read);
    sink("value");
    return true;
  }
  bool put(std::string_view key, std::string_view, Ttl, PutMode) override { return write(key); }
  bool touch(std::string_view key, Ttl, ValueSink) override { return write(key); }
  bool erase(std::string_view key) override { return write(key); }
  void clear() override {}
  void* extension(std::string_view name) noexcept override {
    return name == AdmissionExtension::id ? static_cast<AdmissionExtension*>(this) : nullptr;
  }

 private:
  bool write(std::string_view key) {
    servers_->call(key, Access::write);
    return true;
  }
  bool admits(std::string_view key, Access access) const noexcept override {
    return servers_->admits(key, access);
  }
  bool admits_all() const noexcept override { return servers_->admits_all(); }

  const std::shared_ptr<Servers> servers_;
};

std::shared_ptr<Servers> servers;  // of the latest factory

class FactoryOfServers final : public BackendFactory {
 public:
  explicit FactoryOfServers(const Clock& clock) : servers_(std::make_shared<Servers>(clock)) {
    servers = servers_;
  }
  std::unique_ptr<Backend> connect() override {
    return std::make_unique<SessionOfServers>(servers_);
  }
  StoreTraits traits() const noexcept override { return {.breaks_circuits = true}; }

 private:
  const std::shared_ptr<Servers> servers_;
};

constexpr PluginDescriptor two_servers = backend_plugin(
    "two_servers", "1.0",
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<FactoryOfServers>(context.clock);
    });

// Changes nothing, and offers nothing.
class PlainLayerFactory final : public LayerFactory {
 public:
  using LayerFactory::LayerFactory;

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<Layer>(std::move(session));
  }
};

constexpr PluginDescriptor plain_layer = layer_plugin(
    "plain", "1.0",
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<PlainLayerFactory>(context.inner);
    });

// Changes nothing, and hides nothing.
class TransparentFactory final : public AroundLayerFactory {
 public:
  using AroundLayerFactory::AroundLayerFactory;

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<AroundLayer>(std::move(session), transparency());
  }
};

constexpr PluginDescriptor transparent_layer = layer_plugin(
    "transparent", "1.0",
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<TransparentFactory>(context.inner);
    });

class FailsafeOfServers : public ::testing::Test {
 protected:
  explicit FailsafeOfServers(CacheConfig config = {.backend = "two_servers"})
      : registry_({.caches = {{"default", std::move(config)}}},
                  {.clock = &clock_,
                   .on_warning =
                       [this](const Warning& w) {
                         const std::lock_guard lock(mutex_);
                         kinds_.push_back(w.kind);
                       },
                   .linked_plugins = {&two_servers, &plain_layer, &transparent_layer}}),
        cache_(registry_["default"]) {}
  ~FailsafeOfServers() override { servers.reset(); }

  // The first server's breaker is open.
  void lose_a() {
    servers->down[0] = true;
    for (int i = 0; i < 5; ++i) EXPECT_FALSE(cache_.get("a"));
    ASSERT_EQ(servers->breaker(":1:a").state(Access::read), State::open);
    servers->asked = 0;
  }

  testing::ManualClock clock_;
  std::mutex mutex_;
  std::vector<Warning::Kind> kinds_;  // guarded by it while there are several threads
  CacheRegistry registry_;
  Cache& cache_;
};

TEST_F(FailsafeOfServers, AnOpenBreakerThrowsNoExceptionAndTheOtherServerServes) {
  lose_a();
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(cache_.get("a" + std::to_string(i)));
    EXPECT_FALSE(cache_.contains("a"));
    EXPECT_FALSE(cache_.set("a", 1));
    EXPECT_FALSE(cache_.add("a", 1));
    EXPECT_FALSE(cache_.touch("a", 1min));
    EXPECT_EQ(cache_.get_or_set("a", [] { return std::string("computed"); }), "computed");
    EXPECT_EQ(cache_.get("b"), "value");
    EXPECT_TRUE(cache_.set("b", 1));
  }
  EXPECT_EQ(servers->refused, 0) << "asked beforehand, whatever the other one did in between";
  EXPECT_EQ(servers->asked, 200) << "all of them of the other server";
}

TEST_F(FailsafeOfServers, ItIsUsedAgainByTheFirstCallAfterThePause) {
  lose_a();
  clock_.advance(1300ms);
  EXPECT_FALSE(cache_.get("a")) << "the probe";
  EXPECT_EQ(servers->asked, 1);
  EXPECT_FALSE(cache_.get("a"));
  EXPECT_EQ(servers->asked, 1);
  servers->down[0] = false;
  clock_.advance(2500ms);
  EXPECT_EQ(cache_.get("a"), "value");
  EXPECT_TRUE(cache_.set("a", 1));
  EXPECT_EQ(servers->refused, 0);
}

TEST_F(FailsafeOfServers, IsNotUpAgainBecauseAnotherServerAnswers) {
  lose_a();
  for (int minute = 0; minute < 3; ++minute) {
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(cache_.get("b"), "value");
      EXPECT_FALSE(cache_.get("a"));
    }
    clock_.advance(61s);
  }
  EXPECT_THAT(kinds_, Not(Contains(Warning::Kind::recovered)));
  servers->down[0] = false;
  EXPECT_EQ(cache_.get("b"), "value");
  EXPECT_THAT(kinds_, Not(Contains(Warning::Kind::recovered))) << "no operation has called it yet";
  EXPECT_EQ(cache_.get("a"), "value");
  ASSERT_THAT(kinds_, Not(IsEmpty()));
  EXPECT_EQ(kinds_.back(), Warning::Kind::recovered);
}

TEST_F(FailsafeOfServers, AdmissionIsNotCheckedWithoutFailures) {
  const auto use = [&] {
    for (int i = 0; i < 10; ++i) {
      cache_.get("a");
      cache_.set("b", 1);
      cache_.get_many({"a", "b"});
    }
  };
  use();
  EXPECT_EQ(servers->questions, 0);
  lose_a();
  use();
  EXPECT_GT(servers->questions, 0);
  servers->down[0] = false;
  clock_.advance(40s);
  cache_.get("a");
  servers->questions = 0;
  use();
  EXPECT_EQ(servers->questions, 0) << "nor when it is over";
}

TEST_F(FailsafeOfServers, ABulkIsRefusedIfAllItsKeysAre) {
  lose_a();
  EXPECT_THAT(cache_.get_many({"a1", "a2"}), ElementsAre(std::nullopt, std::nullopt));
  const std::map<std::string, int> items{{"a1", 1}, {"a2", 2}};
  EXPECT_THAT(cache_.set_many(items), ElementsAre("a1", "a2"));
  EXPECT_EQ(servers->refused, 0);
  EXPECT_EQ(servers->asked, 0);
  EXPECT_THAT(cache_.get_many({"b1", "a1"}), ElementsAre("value", std::nullopt));
  EXPECT_EQ(servers->asked, 1) << "one key that may be asked for is enough";
}

TEST_F(FailsafeOfServers, WhatMustNotBeLostThrowsWhatTheStoreSays) {
  lose_a();
  try {
    cache_.erase("a");
    FAIL();
  } catch (const BackendError& error) {
    EXPECT_EQ(error.server(), "a");
    EXPECT_THAT(error.what(), HasSubstr("it is left alone"));
  }
  EXPECT_EQ(cache_.erase_many({"b1", "b2"}), 2U);
  EXPECT_THROW(cache_.erase_many({"b1", "a"}), BackendError);
}

TEST_F(FailsafeOfServers, EachServersWritesAreCheckedSeparately) {
  for (int i = 0; i < 5; ++i) servers->breaker(":1:a").failed(Access::write, Kind::read_only);
  servers->down[1] = true;
  EXPECT_FALSE(cache_.get("b")) << "now something is wrong";
  EXPECT_FALSE(cache_.set("a", 1));
  EXPECT_EQ(servers->refused, 0);
  EXPECT_EQ(cache_.get("a"), "value") << "it refuses writes, and is read";
}

TEST_F(FailsafeOfServers, ManyThreadsMeetOneThatComesAndGoes) {
  std::atomic<bool> ending{false};
  std::atomic<int> unserved{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Cache& cache = registry_["default"];
      while (!ending) {
        cache.get("a");
        cache.set("a", 1);
        if (cache.get("b") != "value") ++unserved;
      }
    });
  }
  for (int round = 0; round < 200; ++round) {
    servers->down[0] = round % 2 == 0;
    const int asked = servers->asked;
    while (servers->asked < asked + 20) std::this_thread::yield();
    clock_.advance(40s);
  }
  ending = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(unserved, 0);
  // A failure of the last moment is reported with the next ones, a minute after the last report.
  clock_.advance(61s);
  EXPECT_EQ(cache_.get("a"), "value");
  EXPECT_TRUE(cache_.set("a", 1));
  servers->questions = 0;
  cache_.get("b");
  cache_.get("b");
  EXPECT_LE(servers->questions, 1) << "it is over";
}

class FailsafeOfServersBehindATransparentLayer : public FailsafeOfServers {
 protected:
  FailsafeOfServersBehindATransparentLayer()
      : FailsafeOfServers({.backend = "two_servers", .layers = {{"transparent", {}}}}) {}
};

TEST_F(FailsafeOfServersBehindATransparentLayer, RefusedCallsCostNoException) {
  lose_a();
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(cache_.get("a"));
    EXPECT_FALSE(cache_.set("a", 1));
    EXPECT_EQ(cache_.get("b"), "value");
  }
  EXPECT_EQ(servers->refused, 0);
  EXPECT_EQ(servers->asked, 100);
}

class FailsafeOfServersBehindALayer : public FailsafeOfServers {
 protected:
  FailsafeOfServersBehindALayer()
      : FailsafeOfServers({.backend = "two_servers", .layers = {{"plain", {}}}}) {}
};

TEST_F(FailsafeOfServersBehindALayer, TheLayerSeesEveryCall) {
  lose_a();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(cache_.get("a"));
  EXPECT_EQ(servers->questions, 0);
  EXPECT_EQ(servers->refused, 10) << "a layer may answer without the store";
}

// --- health ---

TEST_F(Failsafe, HealthReportsTheStateAndChangesNothing) {
  std::vector<CacheHealth> health = registry_.health();
  ASSERT_THAT(health, SizeIs(2));
  EXPECT_EQ(health[0].alias, "a");
  EXPECT_TRUE(health[0].reachable);
  EXPECT_EQ(health[0].breaker, State::closed);
  EXPECT_EQ(health[0].last_error, "");
  works = Works::nothing;
  for (int i = 0; i < 5; ++i) a_.get("k");
  health = registry_.health();
  EXPECT_FALSE(health[0].reachable);
  EXPECT_EQ(health[0].breaker, State::open);
  EXPECT_THAT(health[0].last_error, HasSubstr("it does not answer"));
  EXPECT_EQ(health[1].breaker, State::closed) << "another alias, another breaker";
  works = Works::all;
  health = registry_.health();
  EXPECT_TRUE(health[0].reachable) << "asked, whatever the breaker says";
  EXPECT_EQ(health[0].breaker, State::open);
}

TEST_F(Failsafe, WhatAStoreReportsToHealthIsDelivered) {
  has_news = true;
  registry_.health();
  ASSERT_THAT(heard_, SizeIs(2));
  EXPECT_EQ(heard_[0].message, "news");
  EXPECT_EQ(heard_[0].count, 7U);
}

TEST_F(Failsafe, WhatAStoreReportsWhileItIsMadeMeetsNoLock) {
  has_news = true;
  int heard = 0;
  Environment reconfiguring = environment();
  reconfiguring.on_warning = [&](const Warning& warning) {
    EXPECT_EQ(warning.alias, "new");
    if (++heard == 1) registry_.reconfigure({.caches = {{"new", {.backend = "third_party"}}}});
    EXPECT_TRUE(registry_.contains("new"));
  };
  registry_.reconfigure({.caches = {{"new", {.backend = "third_party"}}}}, reconfiguring);
  EXPECT_EQ(heard, 2);
}

TEST_F(Failsafe, HealthOfAnAliasThatCouldNotBeMade) {
  Environment deferring = environment();
  deferring.defer_errors = true;
  CacheRegistry registry({.caches = {{"wrong", {.backend = "nope"}}}}, deferring);
  const std::vector<CacheHealth> health = registry.health();
  ASSERT_THAT(health, SizeIs(1));
  EXPECT_FALSE(health[0].reachable);
  EXPECT_THAT(health[0].last_error, HasSubstr("nope"));
}

// --- reload ---

class Reload : public Failsafe {
 protected:
  void write(const std::string& text) { std::ofstream(file_) << text; }

  const testing::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "caches.json";
};

TEST_F(Reload, TakesTheFileAsItIsNow) {
  write(R"({"caches": {"default": {"backend": "locmem", "key_prefix": "old"}}})");
  Config config = Config::from_file(file_);
  config.apply("default.version=7");
  CacheRegistry registry(config, environment());
  EXPECT_EQ(registry["default"].final_key("k"), "old:7:k");
  write(R"({"caches": {"default": {"backend": "locmem", "key_prefix": "new"}}})");
  registry.reload();
  EXPECT_EQ(registry["default"].final_key("k"), "new:7:k") << "what was applied is applied again";
}

TEST_F(Reload, AnInvalidFileChangesNothingAndIsReported) {
  write(R"({"caches": {"default": {"backend": "locmem", "key_prefix": "old"}}})");
  CacheRegistry registry(Config::from_file(file_), environment());
  for (const char* const wrong : {R"({"caches": {"default": {"backend": "locmem", "timeuot": 3}}})",
                                  "{", "", R"({"caches": {"default": {"backend": "nope"}}})"}) {
    write(wrong);
    EXPECT_THROW(registry.reload(), ConfigError) << wrong;
    EXPECT_EQ(registry["default"].final_key("k"), "old:1:k");
    EXPECT_THAT(kinds(), ElementsAre(Warning::Kind::reload_failed));
  }
  std::filesystem::remove(file_);
  EXPECT_THROW(registry.reload(), ConfigError);
  EXPECT_EQ(registry["default"].final_key("k"), "old:1:k");
  write(R"({"caches": {"default": {"backend": "locmem", "key_prefix": "new"}}})");
  registry.reload();
  EXPECT_EQ(registry["default"].final_key("k"), "new:1:k");
}

TEST_F(Reload, WithoutAFileSaysSo) {
  try {
    registry_.reload();
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("was not read from a file"));
  }
  EXPECT_EQ(a_.get("k"), "value");
}

}  // namespace
}  // namespace polycache
