// Index on sqlite against Index of Python's diskcache, which runs in a Python process of its own:
// it is told how many operations to do and answers how long they took.
//
//   index [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Goal: each operation at least 3 times as fast. Exit status 77 where diskcache is not installed
// (Debian: python3-diskcache).

#include <polycache/backends/sqlite.h>
#include <polycache/index.h>
#include <polycache/polycache.h>

#include <cstdio>
#include <string>

#include "duel.h"
#include "python.h"
#include "support/server.h"

namespace {

constexpr std::size_t key_count = 1000;

// Keys and values as on our side. Says its version, then answers one line for each line.
constexpr const char* script = R"(
import sys, time
try:
    import diskcache
except ImportError:
    sys.exit(77)
index = diskcache.Index(sys.argv[2])
now = time.process_time_ns if sys.argv[1] == "cpu" else time.perf_counter_ns
value = "v" * 100
keys = ["user:%06d" % i for i in range(1000)]
for key in keys:
    index[key] = value
print(diskcache.__version__, flush=True)
for line in sys.stdin:
    operation, first, count = line.split()
    picked = [keys[i % len(keys)] for i in range(int(first), int(first) + int(count))]
    begin = now()
    if operation == "find":
        for key in picked:
            index[key]
    elif operation == "assign":
        for key in picked:
            index[key] = value
    elif operation == "pop":
        for key in picked:
            item = index.popitem(last=False)
            index[item[0]] = item[1]
    else:
        for key in picked[::len(keys)]:
            for item in index.items():
                pass
    print(now() - begin, flush=True)
)";

bool run_all(const duel::Options& options) {
  const polycache::testing::TemporaryFolder folder;
  const auto diskcache = duel::find_python({.script = script,
                                            .argument = folder.path() / "theirs",
                                            .name = "index",
                                            .package = "python3-diskcache"},
                                           options);
  polycache::Config config;
  config.caches = {{"default", {.backend = "sqlite", .location = {folder.path() / "ours.db"}}}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::sqlite::plugin}});
  auto index = polycache::Index<std::string, std::string>::by_insertion("index");
  const std::string value(100, 'v');
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < key_count; ++i) {
    char key[16];
    std::snprintf(key, sizeof key, "user:%06zu", i);
    keys.emplace_back(key);
    duel::expect(index.insert(keys.back(), value));
  }

  duel::Table table(options,
                    {.title = "Index on sqlite, against diskcache " + diskcache->version() + "'s",
                     .theirs = "diskcache",
                     .unit = duel::Unit::microseconds});
  const auto contest = [&](const char* name, const char* operation, std::size_t operations,
                           duel::Contender ours) {
    return duel::Contest{.name = name,
                         .operations = operations,
                         .slices = 60,
                         .goal = duel::at_least("I1", 3),
                         .ours = std::move(ours),
                         .theirs = diskcache->contender(operation)};
  };
  table.add(contest("find 100 B", "find", 500, duel::each([&](std::size_t i) {
                      duel::expect(index.find(keys[i % key_count]).has_value());
                    })));
  table.add(contest("assign 100 B", "assign", 200, duel::each([&](std::size_t i) {
                      duel::expect(!index.insert_or_assign(keys[i % key_count], value));
                    })));
  table.add(contest("popitem and insert", "pop", 100, duel::each([&](std::size_t) {
                      const auto item = index.popitem(polycache::IndexEnd::first);
                      duel::expect(item && index.insert(item->first, item->second));
                    })));
  table.add(contest("loop over 1000", "loop", key_count, duel::each([&](std::size_t i) {
                      if (i % key_count != 0) return;
                      std::size_t seen = 0;
                      for (const auto& item : index) {
                        duel::keep(item);
                        ++seen;
                      }
                      duel::expect(seen == key_count);
                    })));
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("index", argc, argv, run_all); }
