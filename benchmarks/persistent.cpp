// The sqlite store against Python's diskcache at the same durability (a write-ahead log that is not
// synced at each commit). diskcache runs in a Python process of its own: it is told how many
// operations to do and answers how long they took.
//
//   persistent [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Goals, P1: get at least 3.5 times as fast, get_many(100) 6 times, set 4.2 times,
// set_many(100) 4.4 times. diskcache has no call for several keys: it gets them one by one, as its
// Django cache does, and sets them in one transaction. It counts what it has and may evict, so set
// is also measured with our limits. Exit status 77 where diskcache is not installed (Debian:
// python3-diskcache).

#include <polycache/backends/sqlite.h>
#include <polycache/polycache.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "duel.h"
#include "python.h"
#include "support/server.h"

namespace {

constexpr std::size_t key_count = 10'000;
constexpr std::size_t many = 100;

// Keys and values as on our side. A value that is written differs from the one that is there, since
// SQLite does not write a page that stays the same.
constexpr const char* script = R"(
import sys, time
try:
    import diskcache
except ImportError:
    sys.exit(77)
cache = diskcache.Cache(sys.argv[2])
now = time.process_time_ns if sys.argv[1] == "cpu" else time.perf_counter_ns
keys = ["user:%06d" % i for i in range(10000)]
def value(i):
    return b"%09d" % i + b"v" * 91
with cache.transact():
    for i, key in enumerate(keys):
        cache.set(key, value(i), expire=3600)
print(diskcache.__version__, flush=True)
for line in sys.stdin:
    operation, first, count = line.split()
    places = range(int(first), int(first) + int(count))
    picked = [keys[i % len(keys)] for i in places]
    values = [value(i + 1) for i in places]
    begin = now()
    if operation == "get":
        for key in picked:
            cache.get(key)
    elif operation == "get_many":
        for i in range(0, len(picked), 100):
            {key: cache.get(key) for key in picked[i:i + 100]}
    elif operation == "set":
        for key, each in zip(picked, values):
            cache.set(key, each, expire=3600)
    else:
        for i in range(0, len(picked), 100):
            with cache.transact():
                for key, each in zip(picked[i:i + 100], values[i:i + 100]):
                    cache.set(key, each, expire=3600)
    print(now() - begin, flush=True)
)";

std::string value_of(std::size_t i) {
  std::string digits = std::to_string(i);
  return std::string(9 - digits.size(), '0') + digits + std::string(91, 'v');
}

class Ours {
 public:
  explicit Ours(const std::string& alias) : cache_(polycache::caches[alias]) {
    std::vector<std::pair<std::string, std::string>> items;
    for (std::size_t i = 0; i < key_count; ++i) {
      const std::string digits = std::to_string(i);
      keys_.push_back("user:" + std::string(6 - digits.size(), '0') + digits);
      items.emplace_back(keys_.back(), value_of(i));
    }
    duel::expect(cache_.set_many(items, std::chrono::hours(1)).empty());
  }

  void get(std::size_t i) { duel::expect(cache_.get(keys_[i % key_count]).has_value()); }
  void set(std::size_t i) {
    duel::expect(cache_.set(keys_[i % key_count], value_of(i + 1), std::chrono::hours(1)));
  }
  // Each hundredth call does the work of a hundred.
  void get_many(std::size_t i) {
    if (i % many != 0) return;
    std::vector<std::string> keys;
    for (std::size_t n = i; n < i + many; ++n) keys.push_back(keys_[n % key_count]);
    duel::expect(cache_.get_many<std::string>(keys).back().has_value());
  }
  void set_many(std::size_t i) {
    if (i % many != 0) return;
    std::vector<std::pair<std::string, std::string>> items;
    for (std::size_t n = i; n < i + many; ++n) {
      items.emplace_back(keys_[n % key_count], value_of(n + 1));
    }
    duel::expect(cache_.set_many(items, std::chrono::hours(1)).empty());
  }

 private:
  polycache::Cache& cache_;
  std::vector<std::string> keys_;
};

bool run_all(const duel::Options& options) {
  const polycache::testing::TemporaryFolder folder;
  const auto diskcache = duel::find_python({.script = script,
                                            .argument = folder.path() / "theirs",
                                            .name = "persistent",
                                            .package = "python3-diskcache"},
                                           options);
  polycache::Config config;
  config.caches = {{"default", {.backend = "sqlite", .location = {folder.path() / "ours.db"}}},
                   {"limited",
                    {.backend = "sqlite",
                     .location = {folder.path() / "limited.db"},
                     .options = {{"size_limit", "1GiB"}, {"max_entries", 1'000'000}}}}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::sqlite::plugin}});
  Ours ours("default");
  Ours limited("limited");
  duel::Table table(options, {.title = "sqlite, against diskcache " + diskcache->version(),
                              .theirs = "diskcache",
                              .unit = duel::Unit::microseconds});
  const auto contest = [&](const char* name, const char* operation, double goal,
                           duel::Contender contender) {
    duel::Contest one{.name = name,
                      .operations = 500,
                      .slices = 200,
                      .average = duel::Average::sum,
                      .ours = std::move(contender),
                      .theirs = diskcache->contender(operation)};
    if (goal > 0) one.goal = duel::at_least("P1", goal);
    table.add(one);
  };
  contest("get 100 B", "get", 3.5, duel::each([&](std::size_t i) { ours.get(i); }));
  contest("get_many(100), per key", "get_many", 6,
          duel::each([&](std::size_t i) { ours.get_many(i); }));
  contest("set 100 B", "set", 4.2, duel::each([&](std::size_t i) { ours.set(i); }));
  contest("set 100 B, with limits", "set", 0, duel::each([&](std::size_t i) { limited.set(i); }));
  contest("set_many(100), per key", "set_many", 4.4,
          duel::each([&](std::size_t i) { ours.set_many(i); }));
  polycache::global_registry().close_all();
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("persistent", argc, argv, run_all); }
