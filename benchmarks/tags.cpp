// What tags cost: operations on an entry with tags against the same on one without, on each store.
//
//   tags [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Servers are our own, and pinned to one CPU together with this process. "without" is the plain
// entry. Goals, as theirs / ours: T1, a get of an entry with one tag costs at most 2.2 times as
// much on locmem and 2.15 times on servers; T2, a get_or_set that names the tags at most 1.35
// times; T3, a get_or_set that finds the entry costs at most 1.15 times a get on locmem; T4, at
// most 1.3 times with refresh_after.

#include <polycache/backends/locmem.h>
#include <polycache/backends/memcached.h>
#include <polycache/backends/redis.h>
#include <polycache/backends/sqlite.h>
#include <polycache/polycache.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "duel.h"
#include "support/server.h"

namespace {

using namespace std::chrono_literals;

constexpr std::size_t entries = 1000;
const std::string value(100, 'v');

polycache::CacheConfig alias_at(const std::string& backend, const std::string& location) {
  polycache::CacheConfig config;
  config.backend = backend;
  config.location = {location};
  config.key_prefix = "bench";
  return config;
}

void compete(duel::Table& table, const duel::Stopwatch& stopwatch, const std::string& alias) {
  polycache::Cache& cache = polycache::caches[alias];
  const bool local = alias == "locmem";
  std::vector<std::string> plain;
  std::vector<std::string> one;
  std::vector<std::string> two;
  for (std::size_t i = 0; i < entries; ++i) {
    plain.push_back(polycache::key("plain", i));
    one.push_back(polycache::key("one", i));
    two.push_back(polycache::key("two", i));
    duel::expect(cache.set(plain.back(), value, 1h));
    duel::expect(cache.set(one.back(), value, {.timeout = 1h, .tags = {"posts"}}));
    duel::expect(cache.set(two.back(), value, {.timeout = 1h, .tags = {"posts", "user:7"}}));
  }
  const auto get = [&cache](const std::vector<std::string>& keys) {
    return duel::each([&](std::size_t i) { duel::keep(*cache.get(keys[i % entries])); });
  };
  const auto compute = [] { return std::string("computed"); };
  const polycache::Tags tags{"posts", "user:7"};
  const polycache::LoadOptions refreshed{.timeout = 1h, .refresh_after = 0.8};
  std::vector<std::string> timed;
  for (std::size_t i = 0; i < entries; ++i) {
    timed.push_back(polycache::key("time", i));
    duel::expect(cache.get_or_set(
                     timed.back(), [] { return value; }, refreshed) == value);
  }
  const auto contest = [&](std::string name, std::optional<duel::Goal> goal, duel::Contender ours,
                           duel::Contender theirs) {
    table.add({.name = alias + " " + std::move(name),
               .operations = local ? 5000U : 50U,
               .slices = local ? 300U : 600U,
               .goal = std::move(goal),
               .ours = std::move(ours),
               .theirs = std::move(theirs)},
              stopwatch);
  };
  contest("get, one tag", duel::at_least("T1", local ? 1 / 2.2 : 1 / 2.15), get(one), get(plain));
  contest("get, two tags", {}, get(two), get(plain));
  contest("get_or_set that names two tags", duel::at_least("T2", 1 / 1.35),
          duel::each([&](std::size_t i) {
            duel::keep(cache.get_or_set(two[i % entries], compute, {.tags = tags}));
          }),
          duel::each(
              [&](std::size_t i) { duel::keep(cache.get_or_set(plain[i % entries], compute)); }));
  contest(
      "get_or_set, hit, against get",
      local ? std::optional(duel::at_least("T3", 1 / 1.15)) : std::nullopt,
      duel::each([&](std::size_t i) { duel::keep(cache.get_or_set(plain[i % entries], compute)); }),
      get(plain));
  contest("get_or_set with refresh_after, hit, against get",
          local ? std::optional(duel::at_least("T4", 1 / 1.3)) : std::nullopt,
          duel::each([&](std::size_t i) {
            duel::keep(cache.get_or_set(timed[i % entries], compute, refreshed));
          }),
          get(plain));
  contest("set, one tag", {}, duel::each([&](std::size_t i) {
            duel::keep(cache.set(one[i % entries], value, {.timeout = 1h, .tags = {"posts"}}));
          }),
          duel::each([&](std::size_t i) {
            duel::keep(cache.set(plain[i % entries], value, {.timeout = 1h}));
          }));
}

bool run_all(const duel::Options& options) {
  duel::pin_to_one_cpu();
  const auto redis = polycache::testing::Server::redis();
  const auto memcached = polycache::testing::Server::memcached();
  polycache::Config config;
  config.caches = {{"locmem", {.backend = "locmem", .key_prefix = "bench"}},
                   {"sqlite", alias_at("sqlite", ":memory:benchmark_tags")},
                   {"redis", alias_at("redis", "unix://" + redis->unix_socket())},
                   {"memcached", alias_at("memcached", memcached->address())}};
  polycache::configure(
      std::move(config),
      {.linked_plugins = {&polycache::locmem::plugin, &polycache::sqlite::plugin,
                          &polycache::redis::plugin, &polycache::memcached::plugin}});
  const duel::Stopwatch stopwatch(
      options, {duel::cpu_clock(redis->pid()), duel::cpu_clock(memcached->pid())});
  duel::Table table(options,
                    {.title = "entries with tags, against entries without", .theirs = "without"});
  for (const char* const alias : {"locmem", "sqlite", "redis", "memcached"}) {
    compete(table, stopwatch, alias);
  }
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("tags", argc, argv, run_all); }
