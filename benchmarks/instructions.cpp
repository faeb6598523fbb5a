// Operations to be counted in instructions, which repeat to a few, on a busy machine too:
//
//   valgrind --tool=callgrind --callgrind-out-file=counts instructions
//   callgrind_annotate --inclusive=yes counts
//
// Each function here runs its operation a thousand times; benchmarks/run reads their counts.

#include <polycache/backends/dummy.h>
#include <polycache/backends/locmem.h>
#include <polycache/polycache.h>

#include <chrono>
#include <string>
#include <string_view>

#include "duel.h"

namespace {

constexpr int repetitions = 1000;
constexpr std::string_view profile_key = "user:profile:42";
constexpr std::string_view tagged_key = "user:profile:43";
constexpr std::string_view timed_key = "user:profile:44";
const std::string value(100, 'v');

template <class Operation>
void repeat(Operation operation) {
  for (int i = 0; i < repetitions; ++i) operation();
}

}  // namespace

// Names that callgrind shows as they are, and that are not inlined.
extern "C" {

[[gnu::noinline]] void count_dummy_get_by_alias() {
  repeat([] { duel::keep(polycache::caches["dummy"].get(profile_key)); });
}

[[gnu::noinline]] void count_dummy_get_held(polycache::Cache& dummy) {
  repeat([&] { duel::keep(dummy.get(profile_key)); });
}

[[gnu::noinline]] void count_locmem_get_by_alias() {
  repeat([] { duel::keep(polycache::caches["locmem"].get(profile_key)); });
}

[[gnu::noinline]] void count_locmem_get_held(polycache::Cache& locmem) {
  repeat([&] { duel::keep(locmem.get(profile_key)); });
}

[[gnu::noinline]] void count_locmem_get_tagged(polycache::Cache& locmem) {
  repeat([&] { duel::keep(locmem.get(tagged_key)); });
}

[[gnu::noinline]] void count_locmem_get_or_set_held(polycache::Cache& locmem) {
  repeat([&] { duel::keep(locmem.get_or_set(profile_key, value)); });
}

[[gnu::noinline]] void count_locmem_get_or_set_tagged(polycache::Cache& locmem) {
  const polycache::Tags tags("posts");
  repeat([&] { duel::keep(locmem.get_or_set(tagged_key, value, {.tags = tags})); });
}

[[gnu::noinline]] void count_locmem_get_or_set_refreshed(polycache::Cache& locmem) {
  using std::chrono_literals::operator""h;
  const polycache::LoadOptions options{.timeout = 1h, .refresh_after = 0.8};
  repeat([&] { duel::keep(locmem.get_or_set(timed_key, value, options)); });
}

[[gnu::noinline]] void count_locmem_set_held(polycache::Cache& locmem) {
  repeat([&] { duel::keep(locmem.set(profile_key, value)); });
}
}

int main(int argc, char** argv) {
  return duel::run("instructions", argc, argv, [](const duel::Options&) {
    polycache::Config config;
    config.caches = {{"dummy", {.backend = "dummy", .key_prefix = "bench"}},
                     {"locmem", {.backend = "locmem", .key_prefix = "bench"}}};
    polycache::configure(std::move(config), {.linked_plugins = {&polycache::dummy::plugin,
                                                                &polycache::locmem::plugin}});
    polycache::Cache& dummy = polycache::caches["dummy"];
    polycache::Cache& locmem = polycache::caches["locmem"];
    duel::expect(locmem.set(profile_key, value) && locmem.get(profile_key) == value &&
                 locmem.set(tagged_key, value, {.tags = "posts"}) &&
                 locmem.get(tagged_key) == value && !dummy.get(profile_key));
    count_dummy_get_by_alias();
    count_dummy_get_held(dummy);
    count_locmem_get_by_alias();
    count_locmem_get_held(locmem);
    count_locmem_get_tagged(locmem);
    count_locmem_get_or_set_held(locmem);
    count_locmem_get_or_set_tagged(locmem);
    count_locmem_get_or_set_refreshed(locmem);
    count_locmem_set_held(locmem);
    return true;
  });
}
