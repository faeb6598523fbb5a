// Listing and erasing the keys of a large store: how long the longest page takes, during which
// others may have to wait, and how long the whole takes.
//
//   scan [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// A million keys in locmem, in a file of sqlite and in redis (with --quick a hundred thousand). For
// locmem and sqlite, "longest page" is the time of one call of the store, which is an upper bound
// of the time for which it holds a lock: with --cpu the time that the thread computes, since on a
// busy machine the scheduler adds its own. For redis it is the slowest command in the server's own
// log, which the server executes while all others wait.
//
// Goal: P1, no page blocks a store for longer than 5 ms.

#include <polycache/author/extension.h>
#include <polycache/author/glob.h>
#include <polycache/backends/locmem.h>
#include <polycache/backends/redis.h>
#include <polycache/backends/sqlite.h>
#include <polycache/polycache.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "duel.h"
#include "support/server.h"

namespace {

using polycache::Cache;
using polycache::ScanExtension;

constexpr std::size_t page_entries = 500;  // as many as Cache::scan() asks for
constexpr std::size_t keys_of_run = 1'000'000;
constexpr std::size_t keys_of_quick_run = 100'000;

void fill(Cache& cache, std::size_t count) {
  constexpr std::size_t batch = 1000;
  const std::string value(100, 'v');
  std::vector<std::pair<std::string, std::string>> items;
  for (std::size_t i = 0; i < count; ++i) {
    items.emplace_back("user:profile:" + std::to_string(i), value);
    if (items.size() == batch || i + 1 == count) {
      duel::expect(cache.set_many(items).empty());
      items.clear();
    }
  }
}

struct Walk {
  double longest = 0;  // microseconds
  double whole = 0;    // milliseconds
  std::size_t found = 0;
};

// As Cache::scan() does, page by page.
Walk walk(Cache& cache, const duel::Stopwatch& stopwatch, std::string_view pattern) {
  ScanExtension& scan = *cache.extension<ScanExtension>();
  const std::string whole = polycache::Glob::escape(cache.final_key("")).append(pattern);
  Walk walk;
  std::string cursor;
  do {
    const double begin = stopwatch.now();
    cursor =
        scan.scan(whole, cursor, page_entries, [&](const ScanExtension::Listed&) { ++walk.found; });
    const double took = stopwatch.now() - begin;
    walk.longest = std::max(walk.longest, took / 1000);
    walk.whole += took / 1'000'000;
  } while (!cursor.empty());
  return walk;
}

// The output of redis-cli.
std::string ask(const polycache::testing::Server& server, const std::string& arguments) {
  const std::string line = "redis-cli -p " + std::to_string(server.port()) + " " + arguments;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(line.c_str(), "r"), ::pclose);
  if (!pipe) duel::give_up("cannot start redis-cli");
  std::string text;
  std::array<char, 4096> part;
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe.get())) {
    text.append(part.data(), got);
  }
  return text;
}

// The longest command in the server's log since the last "slowlog reset", in microseconds.
double slowest(const polycache::testing::Server& server) {
  // The third field of each of its entries.
  const std::string text = ask(server,
                               "eval \"local most = 0; for _, entry in "
                               "ipairs(redis.call('SLOWLOG', 'GET', -1)) do most = "
                               "math.max(most, entry[3]) end; return most\" 0");
  return std::strtod(text.c_str(), nullptr);
}

void measure(duel::Table& table, const std::string& store, Cache& cache, std::size_t keys,
             const duel::Stopwatch& stopwatch) {
  fill(cache, keys);
  const Walk all = walk(cache, stopwatch, "*");
  duel::expect(all.found == keys);
  const Walk few = walk(cache, stopwatch, "user:profile:12?4");
  duel::expect(few.found == 10);
  const double longest = std::max(all.longest, few.longest);
  table.add_figure(store + ", longest page", "us", longest, {}, duel::at_most("P1", 5000));
  table.add_figure(store + ", list all", "ms", all.whole);
  table.add_figure(store + ", list 10 by pattern", "ms", few.whole);
  const double begin = stopwatch.now();
  duel::expect(cache.erase_pattern("*7") == keys / 10);
  table.add_figure(store + ", erase a tenth by pattern", "ms",
                   (stopwatch.now() - begin) / 1'000'000);
}

void measure_redis(duel::Table& table, const polycache::testing::Server& server, Cache& cache,
                   std::size_t keys, const duel::Stopwatch& stopwatch) {
  fill(cache, keys);
  ask(server, "config set slowlog-max-len 100000");
  ask(server, "config set slowlog-log-slower-than 100");
  ask(server, "slowlog reset");
  const Walk all = walk(cache, stopwatch, "*");
  const Walk few = walk(cache, stopwatch, "user:profile:12?4");
  duel::expect(few.found == 10 && all.found >= keys);
  const double begin = stopwatch.now();
  duel::expect(cache.erase_pattern("*7") == keys / 10);
  const double erased = (stopwatch.now() - begin) / 1'000'000;
  table.add_figure("redis, slowest command", "us", slowest(server), {}, duel::at_most("P1", 5000));
  table.add_figure("redis, list all", "ms", all.whole);
  table.add_figure("redis, list 10 by pattern", "ms", few.whole);
  table.add_figure("redis, erase a tenth by pattern", "ms", erased);
}

}  // namespace

int main(int argc, char** argv) {
  return duel::run("scan", argc, argv, [](const duel::Options& options) {
    const std::size_t keys = options.quick ? keys_of_quick_run : keys_of_run;
    const polycache::testing::TemporaryFolder folder;
    const auto server = polycache::testing::Server::redis();
    polycache::Config config;
    config.caches["locmem"] = {.backend = "locmem",
                               .timeout = polycache::never,
                               .options = {{"max_bytes", std::string("1GiB")}}};
    config.caches["sqlite"] = {
        .backend = "sqlite",
        .location = {(folder.path() / "scan.db").string()},
        .timeout = polycache::never,
        .options = {{"page_cache", std::string("512MiB")}, {"synchronous", std::string("off")}}};
    config.caches["redis"] = {.backend = "redis",
                              .location = {"unix://" + server->unix_socket()},
                              .timeout = polycache::never};
    polycache::configure(std::move(config),
                         {.on_warning = {},
                          .linked_plugins = {&polycache::locmem::plugin, &polycache::sqlite::plugin,
                                             &polycache::redis::plugin}});
    const duel::Stopwatch stopwatch(options);
    duel::Table table(options,
                      {.title = "listing " + std::to_string(keys) + " keys", .theirs = ""});
    measure(table, "locmem", polycache::caches["locmem"], keys, stopwatch);
    measure(table, "sqlite", polycache::caches["sqlite"], keys, stopwatch);
    measure_redis(table, *server, polycache::caches["redis"], keys, stopwatch);
    return table.met();
  });
}
