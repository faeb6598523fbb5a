// Registries, aliases and locations in memory that are made and dropped again and again: what
// they held is given back. And what registries of one process must agree on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>

#include "polycache/backends/locmem.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/backends/sqlite.h"
#include "polycache/polycache.h"
#include "support/server.h"

namespace polycache {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Environment environment(std::string name = {}) {
  return {.linked_plugins = {&locmem::plugin, &memcached::plugin, &redis::plugin, &sqlite::plugin},
          .name = std::move(name)};
}

Config one_alias(CacheConfig cache) { return {.caches = {{"a", std::move(cache)}}}; }

std::ptrdiff_t open_descriptors() {
  return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
}

// A thread that lives on between the things that it is given to do.
class Worker {
 public:
  Worker() : thread_([this] { work(); }) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    run(nullptr);
    thread_.join();
  }

  void run(std::function<void()> task) {
    task_ = std::move(task);
    given_.release();
    done_.acquire();
  }

 private:
  void work() {
    for (bool goes_on = true; goes_on;) {
      given_.acquire();
      goes_on = task_ != nullptr;
      if (goes_on) task_();
      done_.release();
    }
  }

  std::function<void()> task_;
  std::binary_semaphore given_{0};
  std::binary_semaphore done_{0};
  std::thread thread_;
};

// --- A registry that ends ---

// Makes and destroys registries, and returns how many descriptors are open more than before.
std::ptrdiff_t left_open(const std::function<CacheConfig(int round)>& cache) {
  std::ptrdiff_t before = 0;
  for (int round = 0; round < 30; ++round) {
    CacheRegistry registry(one_alias(cache(round)), environment());
    registry["a"].set("k", round);
    EXPECT_EQ(registry["a"].get<int>("k"), round);
    if (round == 0) before = open_descriptors();
  }
  return open_descriptors() - before;
}

TEST(RegistryEnd, GivesBackTheDescriptorsOfSqlite) {
  const testing::TemporaryFolder folder;
  EXPECT_LE(left_open([&](int round) {
              const fs::path file = folder.path() / (std::to_string(round) + ".db");
              return CacheConfig{.backend = "sqlite", .location = {file.string()}};
            }),
            0);
}

TEST(RegistryEnd, GivesBackTheConnectionsOfRedis) {
  const auto server = testing::Server::redis();
  EXPECT_LE(left_open([&](int) {
              return CacheConfig{.backend = "redis", .location = {"redis://" + server->address()}};
            }),
            0);
}

TEST(RegistryEnd, GivesBackTheConnectionsOfMemcached) {
  const auto server = testing::Server::memcached();
  EXPECT_LE(left_open([&](int) {
              return CacheConfig{.backend = "memcached", .location = {server->address()}};
            }),
            0);
}

TEST(RegistryEnd, AThreadThatUsedItClosesItsSessionsWhenItUsesAnotherRegistry) {
  const testing::TemporaryFolder folder;
  const CacheConfig cache{.backend = "sqlite", .location = {(folder.path() / "a.db").string()}};
  std::optional<CacheRegistry> first(std::in_place, one_alias(cache), environment());
  CacheRegistry second(one_alias({.backend = "locmem"}), environment());
  const std::ptrdiff_t before = open_descriptors();
  Worker worker;
  Cache* held = nullptr;
  worker.run([&] {
    held = &(*first)["a"];
    held->set("k", 1);
  });
  EXPECT_GT(open_descriptors(), before);
  first.reset();
  worker.run([&] {
    second["a"].set("k", 1);
    EXPECT_THROW(held->get("k"), CacheError);
  });
  EXPECT_LE(open_descriptors(), before);
}

TEST(RegistryEnd, CloseAllOfAnotherRegistryClosesTheSessionsToo) {
  const testing::TemporaryFolder folder;
  const CacheConfig cache{.backend = "sqlite", .location = {(folder.path() / "a.db").string()}};
  std::optional<CacheRegistry> first(std::in_place, one_alias(cache), environment());
  CacheRegistry second(one_alias({.backend = "locmem"}), environment());
  const std::ptrdiff_t before = open_descriptors();
  Worker worker;
  worker.run([&] { (*first)["a"].set("k", 1); });
  first.reset();
  worker.run([&] { second.close_all(); });
  EXPECT_LE(open_descriptors(), before);
}

void expect_idle_connections_closed(const CacheConfig& cache) {
  std::optional<CacheRegistry> registry(std::in_place, one_alias(cache), environment());
  const std::ptrdiff_t before = open_descriptors();
  Worker worker;
  worker.run([&] { EXPECT_TRUE((*registry)["a"].set("k", 1)); });
  EXPECT_GT(open_descriptors(), before);
  registry.reset();  // the worker's session is still open, and it does nothing
  EXPECT_LE(open_descriptors(), before);
}

TEST(RegistryEnd, ClosesTheIdleConnectionsThatOtherThreadsOfRedisHad) {
  const auto server = testing::Server::redis();
  expect_idle_connections_closed(
      {.backend = "redis", .location = {"redis://" + server->address()}});
}

TEST(RegistryEnd, ClosesTheIdleConnectionsThatOtherThreadsOfMemcachedHad) {
  const auto server = testing::Server::memcached();
  expect_idle_connections_closed({.backend = "memcached", .location = {server->address()}});
}

TEST(RegistryEnd, AReferenceThrowsACacheErrorThatNamesTheAlias) {
  std::optional<CacheRegistry> registry(std::in_place, one_alias({.backend = "locmem"}),
                                        environment());
  Cache& cache = (*registry)["a"];
  cache.set("k", 1);
  registry.reset();
  const auto refused = [&](const std::function<void()>& operation) {
    try {
      operation();
      ADD_FAILURE() << "threw nothing";
    } catch (const CacheError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("a: "), HasSubstr("its registry was destroyed")));
    }
  };
  refused([&] { cache.get("k"); });
  refused([&] { cache.set("k", 2); });
  refused([&] { cache.erase("k"); });
  refused([&] { cache.clear(); });
  refused([&] { cache.backend(); });
  refused([&] { cache.get_many({"k"}); });
  refused([&] { cache.get_or_set("k", [] { return 3; }); });
  refused([&] { cache.final_key("k"); });
  EXPECT_EQ(cache.alias(), "a");
  cache.close();
}

TEST(RegistryEnd, InTheMiddleOfAnOperationTheOperationEndsAsItBegan) {
  std::optional<CacheRegistry> registry(std::in_place, one_alias({.backend = "locmem"}),
                                        environment());
  CacheRegistry other(one_alias({.backend = "locmem"}), environment());
  Cache& cache = (*registry)["a"];
  EXPECT_EQ(cache.get_or_set("k",
                             [&] {
                               registry.reset();
                               return 1;
                             }),
            1);
  EXPECT_EQ(cache.get<int>("k"), 1) << "it was busy when its registry ended";
  other.close_all();
  EXPECT_THROW(cache.get("k"), CacheError);
}

// --- Stores in memory ---

bool holds_its_entry(CacheRegistry& registry, const char* alias = "a") {
  return registry[alias].contains("k");
}

// By the store's name.
class InMemory : public ::testing::TestWithParam<std::string> {
 protected:
  // A location that no other test names.
  static CacheConfig cache(const std::string& name) {
    const std::string start = GetParam() == "sqlite" ? ":memory:end-" : "end-";
    return {.backend = GetParam(), .location = {start + name}};
  }
};

TEST_P(InMemory, AStoreEndsWithTheLastRegistryThatNamesIt) {
  std::optional<CacheRegistry> first(std::in_place, one_alias(cache("end")), environment());
  (*first)["a"].set("k", 1);
  {
    CacheRegistry second(one_alias(cache("end")), environment());
    first.reset();
    EXPECT_TRUE(holds_its_entry(second));
  }
  CacheRegistry third(one_alias(cache("end")), environment());
  EXPECT_FALSE(holds_its_entry(third));
}

TEST_P(InMemory, AReconfigurationThatKeepsTheLocationKeepsTheEntries) {
  CacheRegistry registry(one_alias(cache("keep")), environment());
  registry["a"].set("k", 1);
  Config config = one_alias(cache("keep"));
  config.caches["a"].timeout = never;
  config.caches["a"].on_error.read = ErrorPolicy::throw_error;
  config.caches["b"] = cache("keep");
  registry.reconfigure(config);
  EXPECT_TRUE(holds_its_entry(registry, "b"));
  config.caches.erase("a");
  registry.reconfigure(config);
  EXPECT_TRUE(holds_its_entry(registry, "b"));
}

TEST_P(InMemory, AReconfigurationThatFailsKeepsTheEntries) {
  CacheRegistry registry(one_alias(cache("failed")), environment());
  registry["a"].set("k", 1);
  EXPECT_THROW(registry.reconfigure({.caches = {{"b", {.backend = "nope"}}}}), ConfigError);
  EXPECT_TRUE(holds_its_entry(registry));
}

TEST_P(InMemory, ALocationThatAReconfigurationDropsIsEmptyWhenItReturns) {
  CacheRegistry registry(one_alias(cache("first")), environment());
  registry["a"].set("k", 1);
  registry.reconfigure(one_alias(cache("second")));
  EXPECT_FALSE(holds_its_entry(registry));
  registry.reconfigure(one_alias(cache("first")));
  EXPECT_FALSE(holds_its_entry(registry));
}

TEST_P(InMemory, AnAliasThatIsGoneKeepsItsStoreUntilItsThreadUsesAnotherOne) {
  CacheRegistry registry({.caches = {{"a", cache("gone")}, {"b", cache("other")}}}, environment());
  Cache& gone = registry["a"];
  gone.set("k", 1);
  registry.reconfigure({.caches = {{"b", cache("other")}}});
  EXPECT_THROW(registry["a"], ConfigError);
  EXPECT_TRUE(gone.contains("k"));
  registry["b"].set("k", 1);
  EXPECT_THROW(gone.contains("k"), CacheError);
  EXPECT_THROW(registry["a"], ConfigError);
  registry.reconfigure({.caches = {{"a", cache("gone")}, {"b", cache("other")}}});
  EXPECT_FALSE(holds_its_entry(registry));
  EXPECT_EQ(&registry["a"], &gone) << "the object of an alias and a thread is always the same";
}

TEST_P(InMemory, ACacheThatIsHardlyUsedMovesWithTheOthersOfItsThread) {
  CacheRegistry registry({.caches = {{"a", cache("one")}, {"b", cache("other")}}}, environment());
  Cache& a = registry["a"];
  a.set("k", 1);
  registry.reconfigure({.caches = {{"a", cache("two")}, {"b", cache("other")}}});
  EXPECT_TRUE(a.contains("k")) << "a reference moves at operator[], not by itself";
  registry["b"].set("k", 1);
  EXPECT_FALSE(a.contains("k"));
}

INSTANTIATE_TEST_SUITE_P(Stores, InMemory, ::testing::Values("locmem", "sqlite"),
                         [](const auto& test) { return test.param; });

// --- Limits that registries share ---

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "threw no ConfigError";
  return {};
}

CacheConfig limited(std::int64_t entries) {
  return {.backend = "locmem", .location = {"limits"}, .options = {{"max_entries", entries}}};
}

TEST(SharedLimits, TwoRegistriesWithOneLocationAndOtherLimitsAreRefused) {
  const CacheRegistry orders(one_alias(limited(10)), environment("orders"));
  EXPECT_THAT(refusal([] { CacheRegistry other(one_alias(limited(11)), environment("users")); }),
              AllOf(HasSubstr("caches.a.options.max_entries: is 11 in the registry \"users\", but "
                              "10 for the alias \"a\" of the registry \"orders\""),
                    HasSubstr("the locmem location \"limits\"")));
  Config from_file = one_alias(limited(11));
  from_file.file = "/etc/shop.json";
  EXPECT_THAT(refusal([&] { CacheRegistry other(from_file, environment()); }),
              HasSubstr("is 11 in the registry of \"/etc/shop.json\", but 10"));
  EXPECT_THAT(refusal([&] { CacheRegistry other(one_alias(limited(11)), environment()); }),
              HasSubstr("is 11 in a registry made in code, but 10"));
  CacheRegistry same(one_alias(limited(10)), environment());
}

TEST(SharedLimits, EachLimitOfLocmemMustBeTheSame) {
  CacheConfig first = limited(10);
  first.options["policy"] = std::string("django");
  CacheConfig second = first;
  second.options["cull_frequency"] = std::int64_t{2};
  second.options["max_bytes"] = std::int64_t{1'000'000};
  const CacheRegistry registry(one_alias(first), environment());
  EXPECT_THAT(refusal([&] { CacheRegistry other(one_alias(second), environment()); }),
              AllOf(HasSubstr("caches.a.options.cull_frequency: is 2 in"),
                    HasSubstr("caches.a.options.max_bytes: is 1000000 in")));
  second = limited(10);
  EXPECT_THAT(refusal([&] { CacheRegistry other(one_alias(second), environment()); }),
              HasSubstr("caches.a.options.policy: is s3-fifo in"));
}

TEST(SharedLimits, TwoAliasesOfOneConfigurationMustAgreeToo) {
  const std::string error = refusal([] {
    CacheRegistry registry({.caches = {{"a", limited(10)}, {"b", limited(11)}}}, environment());
  });
  EXPECT_THAT(error, HasSubstr("caches.b.options.max_entries: is 11, but 10 for the alias \"a\";"));
}

TEST(SharedLimits, OneTableOfSqliteHasOneMaxEntries) {
  const testing::TemporaryFolder folder;
  CacheConfig cache{.backend = "sqlite",
                    .location = {(folder.path() / "a.db").string()},
                    .options = {{"max_entries", std::int64_t{10}}}};
  const CacheRegistry registry(one_alias(cache), environment());
  cache.options.clear();
  EXPECT_THAT(refusal([&] { CacheRegistry other(one_alias(cache), environment()); }),
              AllOf(HasSubstr("caches.a.options.max_entries: is without limit in"),
                    HasSubstr("the table \"cache\" of")));
  cache.options["table"] = std::string("another");
  CacheRegistry other(one_alias(cache), environment());
}

TEST(SharedLimits, AReconfigurationChangesThemForAllItsAliases) {
  CacheRegistry registry({.caches = {{"a", limited(10)}, {"b", limited(10)}}}, environment());
  registry["a"].set("k", 1);
  registry.reconfigure({.caches = {{"a", limited(2)}, {"b", limited(2)}}});
  for (int i = 0; i < 5; ++i) registry["a"].set("k" + std::to_string(i), i);
  int left = 0;
  for (int i = 0; i < 5; ++i) left += registry["b"].contains("k" + std::to_string(i)) ? 1 : 0;
  EXPECT_LE(left, 2);
}

TEST(SharedLimits, WhatIsNotConfiguredAnyMoreDoesNotCount) {
  std::optional<CacheRegistry> first(std::in_place, one_alias(limited(10)), environment());
  const std::unique_ptr<Cache> kept = first->open("a");
  kept->set("k", 1);
  EXPECT_THROW(CacheRegistry(one_alias(limited(11)), environment()), ConfigError);
  EXPECT_THROW(first->reconfigure({.caches = {{"a", limited(12)}, {"b", {.backend = "nope"}}}}),
               ConfigError);
  CacheRegistry same(one_alias(limited(10)), environment());
  same.reconfigure({});
  first->reconfigure({});
  CacheRegistry second(one_alias(limited(11)), environment());
  EXPECT_FALSE(holds_its_entry(second));
  EXPECT_TRUE(kept->contains("k"));
}

// --- Objects of the whole process ---

struct Counted {
  explicit Counted(int& living) : count(living) { ++count; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --count; }
  int& count;
};

int living = 0;

class HoldingFactory final : public BackendFactory {
 public:
  explicit HoldingFactory(std::shared_ptr<void> object) : object_(std::move(object)) {}
  std::unique_ptr<Backend> connect() override { return nullptr; }

 private:
  std::shared_ptr<void> object_;
};

constexpr PluginDescriptor holding = backend_plugin(
    "holding", "1.0",
    [](const OptionReader& options,
       const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      const auto make = [] { return std::shared_ptr<void>(std::make_shared<Counted>(living)); };
      return std::make_unique<HoldingFactory>(
          context.process_wide("holding/1:" + options.location().front(), make));
    });

TEST(ProcessWide, AnObjectLivesWhileAFactoryHoldsIt) {
  const auto at = [](const char* location) {
    return one_alias({.backend = "holding", .location = {location}});
  };
  const Environment linked{.linked_plugins = {&holding}};
  {
    CacheRegistry registry(at("one"), linked);
    CacheRegistry same(at("one"), linked);
    EXPECT_EQ(living, 1);
    registry.reconfigure(at("two"));
    EXPECT_EQ(living, 2);
    same.reconfigure(at("two"));
    EXPECT_EQ(living, 1);
    EXPECT_THROW(same.reconfigure({.caches = {{"x", {.backend = "nope"}}}}), ConfigError);
    EXPECT_EQ(living, 1);
  }
  EXPECT_EQ(living, 0);
}

}  // namespace
}  // namespace polycache
