// What recipes add to the operation below them, on locmem.
//
//   recipes [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// "get" is cache.get() with a key that is there already. Goal, as get / ours: K1, a memoized
// function that finds its result costs at most 1.3 times as much.

#include <polycache/backends/locmem.h>
#include <polycache/loaders.h>
#include <polycache/memoize.h>
#include <polycache/polycache.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "duel.h"

namespace {

using namespace std::chrono_literals;

constexpr int entries = 1000;

bool run_all(const duel::Options& options) {
  duel::pin_to_one_cpu();
  polycache::Config config;
  config.caches = {{"default", {.backend = "locmem", .key_prefix = "bench"}}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::locmem::plugin}});
  polycache::Cache& cache = polycache::caches["default"];
  const std::string value(100, 'v');
  const auto of_number =
      polycache::memoize("user:profile", [&value](int) { return value; }, {.timeout = 1h});
  const auto of_mine =
      polycache::memoize(cache, "user:profile", [&value](int) { return value; }, {.timeout = 1h});
  std::vector<std::string> keys;
  for (int i = 0; i < entries; ++i) {
    keys.push_back(of_number.key(i));
    duel::expect(of_number(i) == value);
  }
  const duel::Stopwatch stopwatch(options);
  duel::Table table(options, {.title = "recipes, against the operation below", .theirs = "get"});
  const auto get = duel::each([&](std::size_t i) { duel::keep(*cache.get(keys[i % entries])); });
  const auto made_key = duel::each([&](std::size_t i) {
    duel::keep(*cache.get(polycache::key("user:profile:v1", static_cast<int>(i % entries))));
  });
  const auto contest = [&](std::string name, std::optional<duel::Goal> goal, duel::Contender ours,
                           duel::Contender theirs) {
    table.add({.name = std::move(name),
               .operations = 5000,
               .slices = 300,
               .goal = std::move(goal),
               .ours = std::move(ours),
               .theirs = std::move(theirs)},
              stopwatch);
  };
  contest("memoized, hit, on a held Cache&", duel::at_least("K1", 1 / 1.3),
          duel::each([&](std::size_t i) { duel::keep(of_mine(static_cast<int>(i % entries))); }),
          get);
  contest("memoized, hit, by alias", {},
          duel::each([&](std::size_t i) { duel::keep(of_number(static_cast<int>(i % entries))); }),
          get);
  contest("memoized, hit, against get(key(...))", {},
          duel::each([&](std::size_t i) { duel::keep(of_mine(static_cast<int>(i % entries))); }),
          made_key);
  const polycache::Loader loader =
      polycache::global_loaders().add("profile", [&value](int) { return value; }, {.expires = 1h});
  for (int i = 0; i < entries; ++i) duel::expect(loader.get<std::string>(i) == value);
  contest("loader, hit", {}, duel::each([&](std::size_t i) {
            duel::keep(loader.get<std::string>(static_cast<int>(i % entries)));
          }),
          get);
  contest("loader, hit, by label", {}, duel::each([&](std::size_t i) {
            duel::keep(polycache::load<std::string>("profile", static_cast<int>(i % entries)));
          }),
          get);
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("recipes", argc, argv, run_all); }
