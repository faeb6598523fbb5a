// What the layer costs: operations on the store that keeps nothing, and the pieces that they
// are made of.
//
//   dummy [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Goal O1: a get through caches["alias"] at most 20 ns, on a held Cache& at most 12 ns. The
// key is of the usual length, the final key "bench:1:user:profile:42".

#include <polycache/backends/dummy.h>
#include <polycache/backends/locmem.h>
#include <polycache/polycache.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "duel.h"

namespace {

constexpr std::string_view profile_key = "user:profile:42";

polycache::CacheConfig alias_on(const std::string& backend) {
  polycache::CacheConfig config;
  config.backend = backend;
  config.key_prefix = "bench";
  return config;
}

duel::Contest contest(std::string name, duel::Contender ours, std::optional<duel::Goal> goal = {}) {
  return {.name = std::move(name),
          .operations = 20'000,
          .slices = 600,
          .goal = std::move(goal),
          .ours = std::move(ours)};
}

bool run_all(const duel::Options& options) {
  using duel::each;
  polycache::Config config;
  config.caches = {{"default", alias_on("locmem")}, {"alias", alias_on("dummy")}};
  polycache::configure(std::move(config),
                       {.linked_plugins = {&polycache::dummy::plugin, &polycache::locmem::plugin}});
  polycache::Cache& held = polycache::caches["alias"];
  polycache::Backend& session = held.backend();
  polycache::Cache& local = polycache::caches["default"];
  local.set(profile_key, "value", polycache::never);

  duel::Table table(options, {.title = "the layer, on the store that keeps nothing",
                              .theirs = "",
                              .unit = duel::Unit::nanoseconds});
  table.add(contest("get through caches[\"alias\"]", each([](std::size_t) {
                      duel::keep(polycache::caches["alias"].get(profile_key));
                    }),
                    duel::at_most("O1", 20)));
  table.add(contest("get on a held Cache&",
                    each([&held](std::size_t) { duel::keep(held.get(profile_key)); }),
                    duel::at_most("O1", 12)));
  table.add(contest("caches[\"alias\"] alone",
                    each([](std::size_t) { duel::keep(polycache::caches["alias"]); })));
  table.add(contest("the store's virtual get alone", each([&session](std::size_t) {
                      duel::keep(session.get(profile_key, [](std::string_view) {}));
                    })));
  table.add(
      contest("contains", each([&held](std::size_t) { duel::keep(held.contains(profile_key)); })));
  table.add(contest("set of an int", each([&held](std::size_t i) {
                      duel::keep(held.set(profile_key, static_cast<int>(i)));
                    })));
  table.add(contest("key(\"user:profile\", i)",
                    each([](std::size_t i) { duel::keep(polycache::key("user:profile", i)); })));
  table.add(contest("get_or_set, hit (locmem)", each([&local](std::size_t) {
                      duel::keep(local.get_or_set(profile_key, [] { return std::string("new"); }));
                    })));
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("dummy", argc, argv, run_all); }
