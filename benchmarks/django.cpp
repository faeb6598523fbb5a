// The locmem store against Django's, which runs in a Python process of its own: it is
// told how many operations to do and answers how long they took.
//
//   django [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Goal L5: get at least 35 times as fast, set 40 times. Exit status 77 where Django is not
// installed.

#include <polycache/backends/locmem.h>
#include <polycache/polycache.h>

#include <string>

#include "duel.h"
#include "python.h"

namespace {

constexpr std::size_t key_count = 1000;

// Keys and values as on our side. Says its version, then answers one line for each line.
constexpr const char* script = R"(
import sys, time
try:
    import django
except ImportError:
    sys.exit(77)
from django.conf import settings
settings.configure(CACHES={"default": {
    "BACKEND": "django.core.cache.backends.locmem.LocMemCache", "KEY_PREFIX": "bench",
    "OPTIONS": {"MAX_ENTRIES": 1000000}}})
from django.core.cache import caches
now = time.process_time_ns if sys.argv[1] == "cpu" else time.perf_counter_ns
value = "v" * 100
keys = ["user:profile:%d" % i for i in range(int(sys.argv[2]))]
for key in keys:
    caches["default"].set(key, value)
print(django.get_version(), flush=True)
for line in sys.stdin:
    operation, first, count = line.split()
    picked = [keys[i % len(keys)] for i in range(int(first), int(first) + int(count))]
    begin = now()
    if operation == "get":
        for key in picked:
            caches["default"].get(key)
    else:
        for key in picked:
            caches["default"].set(key, value)
    print(now() - begin, flush=True)
)";

bool run_all(const duel::Options& options) {
  const auto django = duel::find_python({.script = script,
                                         .argument = std::to_string(key_count),
                                         .name = "django",
                                         .package = "python3-django"},
                                        options);
  polycache::Config config;
  config.caches = {{"default", {.backend = "locmem", .key_prefix = "bench"}}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::locmem::plugin}});
  const std::string value(100, 'v');
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < key_count; ++i) keys.push_back("user:profile:" + std::to_string(i));
  for (const std::string& key : keys) duel::expect(polycache::cache().set(key, value));

  duel::Table table(options, {.title = "locmem, against Django " + django->version() + "'s",
                              .theirs = "Django",
                              .unit = duel::Unit::nanoseconds});
  const auto contest = [&](const char* operation, double goal, duel::Contender ours) {
    return duel::Contest{.name = std::string(operation) + " 100 B",
                         .operations = 2000,
                         .slices = 300,
                         .goal = duel::at_least("L5", goal),
                         .ours = std::move(ours),
                         .theirs = django->contender(operation)};
  };
  table.add(contest("get", 35, duel::each([&](std::size_t i) {
                      duel::expect(
                          polycache::caches["default"].get(keys[i % key_count]).has_value());
                    })));
  table.add(contest("set", 40, duel::each([&](std::size_t i) {
                      duel::expect(polycache::caches["default"].set(keys[i % key_count], value));
                    })));
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("django", argc, argv, run_all); }
