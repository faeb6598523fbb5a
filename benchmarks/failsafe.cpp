// What it costs to be ready for failures, and to have them: an operation while a circuit breaker
// is open, on a store of a third party, whose breaker is the core's, and on the stores with
// a breaker for each server; and taking a connection of the pool.
//
//   failsafe [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Goals: F1, an operation that is refused and answered as a miss or false takes at most a
// microsecond (the row after it: where the policy is "throw"); F2, taking a connection and
// giving it back takes at most 100 ns.

#include <polycache/author/backend.h>
#include <polycache/author/plugin.h>
#include <polycache/backends/memcached.h>
#include <polycache/backends/redis.h>
#include <polycache/error.h>
#include <polycache/net/connection_pool.h>
#include <polycache/polycache.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "duel.h"
#include "support/server.h"

namespace {

using polycache::BackendError;
using polycache::Cache;
using polycache::CircuitBreaker;
using Locations = std::vector<std::string>;

constexpr std::string_view profile_key = "user:profile:42";

// A store of a program's own, which is down.
class Broken final : public polycache::Backend {
 public:
  bool get(std::string_view, polycache::ValueSink) override { fail(); }
  bool put(std::string_view, std::string_view, polycache::Ttl, polycache::PutMode) override {
    fail();
  }
  bool touch(std::string_view, polycache::Ttl, polycache::ValueSink) override { fail(); }
  bool erase(std::string_view) override { fail(); }
  void clear() override { fail(); }

 private:
  [[noreturn]] static void fail() {
    throw BackendError(BackendError::Kind::unreachable, "", "it is down");
  }
};

class BrokenFactory final : public polycache::BackendFactory {
 public:
  std::unique_ptr<polycache::Backend> connect() override { return std::make_unique<Broken>(); }
};

constexpr polycache::PluginDescriptor broken = polycache::backend_plugin(
    "broken", "1.0",
    [](const polycache::OptionReader&,
       const polycache::BackendContext&) -> std::unique_ptr<polycache::BackendFactory> {
      return std::make_unique<BrokenFactory>();
    });

polycache::CacheConfig config_of(const std::string& backend, const Locations& location,
                                 polycache::ErrorPolicy policy) {
  polycache::CacheConfig config;
  config.backend = backend;
  config.location = location;
  config.on_error = {.read = policy, .write = policy};
  return config;
}

bool is_open(const std::string& alias) {
  for (const polycache::CacheHealth& health : polycache::global_registry().health()) {
    if (health.alias == alias) return health.breaker == CircuitBreaker::State::open;
  }
  return false;
}

// Calls every server until its breaker is open.
void break_circuits(const std::string& alias) {
  Cache& cache = polycache::caches[alias];
  while (!is_open(alias)) {
    for (int i = 0; i < 100; ++i) {
      try {
        cache.get(polycache::key("user", i));
        cache.set(polycache::key("user", i), i);
      } catch (const BackendError&) {  // that is what it is for
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
}

duel::Contest contest(std::string name, duel::Contender ours, duel::Contender theirs) {
  return {.name = std::move(name),
          .operations = 200,
          .slices = 600,
          .goal = duel::at_most("F1", 1000),
          .ours = std::move(ours),
          .theirs = std::move(theirs)};
}

template <class Operation>
void add(duel::Table& table, const std::string& name, const std::string& store,
         Operation operation) {
  break_circuits(store);
  break_circuits(store + " strict");
  table.add(contest(name + ", " + store, duel::each([&, operation](std::size_t) {
                      operation(polycache::caches[store]);
                    }),
                    duel::each([&, operation](std::size_t) {
                      bool threw = false;
                      try {
                        operation(polycache::caches[store + " strict"]);
                      } catch (const BackendError&) {
                        threw = true;
                      }
                      duel::expect(threw);
                    })));
}

// A connection of the pool, to nowhere.
struct Connection {
  bool is_open() const noexcept { return true; }
  void close() noexcept {}
  void abandon() noexcept {}
};

bool measure_pool(const duel::Options& options) {
  polycache::ConnectionPool<Connection> pool({}, polycache::Clock::real(),
                                             [] { return std::make_unique<Connection>(); });
  std::size_t hint = 0;
  duel::Table table(
      options, {.title = "the pool of connections", .theirs = "", .unit = duel::Unit::nanoseconds});
  table.add({.name = "take a connection and give it back",
             .operations = 20'000,
             .slices = 600,
             .goal = duel::at_most("F2", 100),
             .ours = duel::each([&](std::size_t) {
               const auto limit = std::chrono::steady_clock::time_point::max();
               duel::keep(*pool.take(hint, limit));
             })});
  return table.met();
}

bool measure_refusals(const duel::Options& options) {
  const auto nobody = [] { return "127.0.0.1:" + std::to_string(polycache::testing::free_port()); };
  const std::string one = nobody();
  const std::string other = nobody();
  polycache::Config config;
  const auto alias = [&](const std::string& name, const std::string& backend,
                         const Locations& location) {
    using polycache::ErrorPolicy;
    config.caches[name] = config_of(backend, location, ErrorPolicy::miss);
    config.caches[name + " strict"] = config_of(backend, location, ErrorPolicy::throw_error);
  };
  alias("a store of one's own", "broken", {});
  for (const std::string backend : {"redis", "memcached"}) {
    alias(backend + ", one server", backend, {one});
    alias(backend + ", two servers", backend, {one, other});
  }
  polycache::configure(std::move(config), {.on_warning = {},
                                           .linked_plugins = {&broken, &polycache::redis::plugin,
                                                              &polycache::memcached::plugin}});

  duel::Table table(options, {.title = "operations that an open circuit breaker refuses",
                              .theirs = "\"on_error\": \"throw\"",
                              .unit = duel::Unit::nanoseconds});
  const auto get = [](Cache& cache) { duel::keep(cache.get(profile_key)); };
  const auto set = [](Cache& cache) { duel::keep(cache.set(profile_key, 1)); };
  for (const std::string store : {"a store of one's own", "redis, one server", "redis, two servers",
                                  "memcached, one server", "memcached, two servers"}) {
    add(table, "get", store, get);
    add(table, "set", store, set);
  }
  return table.met();
}

}  // namespace

int main(int argc, char** argv) {
  return duel::run("failsafe", argc, argv, [](const duel::Options& options) {
    const bool pool_is_good = measure_pool(options);
    return measure_refusals(options) && pool_is_good;
  });
}
