// The sqlite store through caches["alias"] against SQLite's bare C interface, each on a file
// of its own in a temporary folder (TMPDIR); and with checksums against without.
//
//   sqlite [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// The bare side opens its file by sqlite3_open() and has the same table, pragmas, prepared
// statements and transactions; it hashes the key, checks the lifetime and copies the value into
// a std::string, as every program must. Ours also builds the final key and works for any number of
// threads, processes and forks. The ratio of writes is that of the sums: a checkpoint falls
// into few slices, but is part of the price.
//
// Goals: D1, get and get_many(100) at least 0.95 times as fast as the bare interface; D3, set
// and set_many at least 0.9 times. N2, with a near tier: get at least 8 times as fast as without,
// and with one write in a thousand operations on keys of a Zipf distribution 1.4 times. D6, with a
// limit of a million entries: a set that overwrites takes at most 1.15 times as long as without;
// with a limit that is reached, a set that makes room for a new entry takes at most 1.5 times as
// long as one that adds an entry without limits.

#include <polycache/backends/sqlite.h>
#include <polycache/polycache.h>
#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "clients.h"
#include "duel.h"
#include "support/server.h"

namespace {

enum class Limit : unsigned char { none, entries };
constexpr std::int64_t entry_limit = 10'000;  // entries where there is a limit

class Bare {
 public:
  explicit Bare(const std::string& path, Limit limit = Limit::none) {
    check(sqlite3_open(path.c_str(), &database_));
    sqlite3_busy_timeout(database_, 1000);
    execute("PRAGMA journal_mode=WAL");
    execute("PRAGMA synchronous=normal");
    execute("PRAGMA wal_autocheckpoint=10000");
    execute("PRAGMA cache_size=-8192");
    execute(
        "CREATE TABLE IF NOT EXISTS cache(id INTEGER PRIMARY KEY, key BLOB NOT NULL, written "
        "INTEGER NOT NULL, expires INTEGER NOT NULL, value BLOB NOT NULL)");
    get_ = prepare("SELECT expires, value FROM cache WHERE id = ?1 AND key = ?2");
    set_ =
        prepare("REPLACE INTO cache(id, key, expires, written, value) VALUES(?1, ?2, ?3, ?4, ?5)");
    if (limit == Limit::entries) {
      execute("CREATE INDEX IF NOT EXISTS cache_written ON cache(written, expires)");
    }
    erase_oldest_ =
        prepare("DELETE FROM cache WHERE id IN (SELECT id FROM cache ORDER BY written LIMIT 1)");
    begin_ = prepare("BEGIN");
    begin_write_ = prepare("BEGIN IMMEDIATE");
    commit_ = prepare("COMMIT");
  }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  ~Bare() {
    for (sqlite3_stmt* const statement :
         {get_, set_, erase_oldest_, begin_, begin_write_, commit_}) {
      sqlite3_finalize(statement);
    }
    sqlite3_close(database_);
  }

  std::optional<std::string> get(const std::string& key) {
    std::optional<std::string> value;
    sqlite3_bind_int64(get_, 1, id(key));
    sqlite3_bind_blob(get_, 2, key.data(), static_cast<int>(key.size()), SQLITE_STATIC);
    const int code = sqlite3_step(get_);
    if (code == SQLITE_ROW && sqlite3_column_int64(get_, 0) > now()) {
      value.emplace(static_cast<const char*>(sqlite3_column_blob(get_, 1)),
                    static_cast<std::size_t>(sqlite3_column_bytes(get_, 1)));
    }
    sqlite3_reset(get_);
    return value;
  }

  bool set(const std::string& key, std::string_view value) {
    const sqlite3_int64 written = now();
    sqlite3_bind_int64(set_, 1, id(key));
    sqlite3_bind_blob(set_, 2, key.data(), static_cast<int>(key.size()), SQLITE_STATIC);
    sqlite3_bind_int64(set_, 3, written + 300'000);
    sqlite3_bind_int64(set_, 4, written);
    sqlite3_bind_blob(set_, 5, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    return run(set_);
  }

  // Makes room for a new key.
  bool set_and_evict(const std::string& key, std::string_view value) {
    run(begin_write_);
    set(key, value);
    run(erase_oldest_);
    return run(commit_);
  }

  std::vector<std::optional<std::string>> get_many(const duel::Keys& keys) {
    std::vector<std::optional<std::string>> values;
    values.reserve(keys.size());
    run(begin_);
    for (const std::string& key : keys) values.push_back(get(key));
    run(commit_);
    return values;
  }

  bool set_many(const duel::Items& items) {
    run(begin_write_);
    for (const auto& [key, value] : items) set(key, value);
    return run(commit_);
  }

 private:
  static sqlite3_int64 now() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  static sqlite3_int64 id(const std::string& key) {
    return static_cast<sqlite3_int64>(std::hash<std::string>()(key));
  }
  void check(int code) const {
    if (code != SQLITE_OK) duel::give_up(std::string("bare SQLite: ") + sqlite3_errmsg(database_));
  }
  void execute(const char* sql) { check(sqlite3_exec(database_, sql, nullptr, nullptr, nullptr)); }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    check(sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr));
    return statement;
  }
  bool run(sqlite3_stmt* statement) {
    const int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) check(code);
    return code == SQLITE_DONE;
  }

  sqlite3* database_ = nullptr;
  sqlite3_stmt* get_ = nullptr;
  sqlite3_stmt* set_ = nullptr;
  sqlite3_stmt* erase_oldest_ = nullptr;
  sqlite3_stmt* begin_ = nullptr;
  sqlite3_stmt* begin_write_ = nullptr;
  sqlite3_stmt* commit_ = nullptr;
};

polycache::CacheConfig alias_at(const std::string& location) {
  polycache::CacheConfig config;
  config.backend = "sqlite";
  config.location = {location};
  config.key_prefix = "bench";
  return config;
}

// Reads in several threads, each with its own connection.
void run_threads(duel::Table& table, const duel::Clients<Bare>& clients, const std::string& alias,
                 const std::string& bare_path) {
  for (const std::size_t count : {2U, 8U}) {
    table.add({.name = alias + " get, " + std::to_string(count) + " threads",
               .operations = 20'000,
               .slices = 21,
               .ours = duel::threads(
                   count,
                   [&] {
                     return [&](std::size_t i) {
                       duel::expect(polycache::caches[alias].get(clients.key(i)).has_value());
                     };
                   }),
               .theirs = duel::threads(count, [&] {
                 return [&, bare = std::make_shared<Bare>(bare_path)](std::size_t i) {
                   duel::expect(bare->get(clients.final_key(i)).has_value());
                 };
               })});
  }
}

// Both are full, and every set is of a key that had to go.
void run_evictions(duel::Table& table, const duel::Clients<Bare>& clients,
                   const std::string& path) {
  Bare bare(path, Limit::entries);
  const std::string value(100, 'v');
  for (std::size_t i = 0; i < entry_limit; ++i) {
    duel::expect(polycache::caches["limited"].set(clients.key(i), value));
    duel::expect(bare.set(clients.final_key(i), value));
  }
  table.add({.name = "100 B set, evicting",
             .operations = 100,
             .slices = 600,
             .average = duel::Average::sum,
             .ours = duel::each([&](std::size_t i) {
               duel::expect(polycache::caches["limited"].set(clients.key(i + entry_limit), value));
             }),
             .theirs = duel::each([&](std::size_t i) {
               duel::expect(bare.set_and_evict(clients.final_key(i + entry_limit), value));
             })});
}

// An operation on each of two aliases in turn.
template <class Operation>
duel::Contest with_and_without(const std::string& what, const std::string& name, std::size_t slices,
                               Operation operation) {
  const auto on = [&](const std::string& alias) {
    return duel::each([operation, &cache = polycache::caches[alias]](std::size_t i) {
      duel::expect(operation(cache, i));
    });
  };
  return {.name = name,
          .operations = 100,
          .slices = slices,
          .ours = on("with " + what),
          .theirs = on("without " + what)};
}

void run_near(duel::Table& table) {
  using polycache::Cache;
  constexpr std::size_t keys = 1000;
  const std::string value(100, 'v');
  const auto key = [](std::size_t i) { return "k" + std::to_string(i % keys); };
  for (const char* const alias : {"with near", "without near"}) {
    for (std::size_t i = 0; i < keys; ++i) polycache::caches[alias].set(key(i), value);
  }
  const auto get = [=](Cache& cache, std::size_t i) { return cache.get(key(i)).has_value(); };
  duel::Contest hits = with_and_without("near", "100 B get, near", 600, get);
  hits.goal = duel::at_least("N2", 8);
  table.add(hits);
  const std::vector<std::size_t> popular = duel::popular(keys, 20'000);
  for (const std::size_t one_in : {std::size_t{1000}, std::size_t{100}}) {
    const auto mixed = [=](Cache& cache, std::size_t i) {
      const std::string name = key(popular[i % popular.size()]);
      return i % one_in == 0 ? cache.set(name, value) : cache.get(name).has_value();
    };
    duel::Contest contest = with_and_without(
        "near", "zipf, a write in " + std::to_string(one_in) + ", near", 600, mixed);
    contest.operations = one_in;
    contest.average = duel::Average::sum;
    if (one_in == 1000) contest.goal = duel::at_least("N2", 1.4);
    table.add(contest);
  }
}

// An alias with limits that are far away, and one that is full and makes room for each new key.
void run_limits(duel::Table& table) {
  using polycache::Cache;
  constexpr std::size_t keys = 100'000;
  const std::string value(100, 'v');
  const auto key = [](std::size_t i) { return "k" + std::to_string(i); };
  for (const char* const alias : {"with limits", "without limits", "with a full table",
                                  "with a size limit", "without a size limit"}) {
    std::map<std::string, std::string> items;
    for (std::size_t i = 0; i < keys; ++i) {
      items.emplace(key(i), value);
      if (items.size() < 1000) continue;
      polycache::caches[alias].set_many(items);
      items.clear();
    }
  }
  // SQLite writes no page whose content stays the same.
  const auto overwrite = [=](Cache& cache, std::size_t i) {
    return cache.set(key(i % keys), std::to_string(100'000'000 + i) + value.substr(9));
  };
  duel::Contest below = with_and_without("limits", "100 B set, overwriting", 1500, overwrite);
  below.average = duel::Average::sum;
  below.goal = duel::at_least("D6", 1 / 1.15);
  table.add(below);
  const auto resize = [=](Cache& cache, std::size_t i) {
    return cache.set(key(i % keys), std::string(80 + i % 41, static_cast<char>('a' + i % 26)));
  };
  for (const char* const limit : {"limits", "a size limit"}) {
    below = with_and_without(limit, std::string("about 100 B set, other sizes, with ") + limit,
                             1500, resize);
    below.average = duel::Average::sum;
    if (limit == std::string_view("limits")) below.goal = duel::at_least("D6", 1 / 1.15);
    table.add(below);
  }
  const auto add = [=](Cache& cache, std::size_t i) { return cache.set(key(keys + i), value); };
  const auto on = [&](const char* alias) {
    return duel::each(
        [add, &cache = polycache::caches[alias]](std::size_t i) { duel::expect(add(cache, i)); });
  };
  table.add({.name = "100 B set of a new key, making room",
             .operations = 100,
             .slices = 1500,
             .average = duel::Average::sum,
             .goal = duel::at_least("D6", 1 / 1.5),
             .ours = on("with a full table"),
             .theirs = on("without limits")});
}

void run_checksums(duel::Table& table) {
  using polycache::Cache;
  for (const auto& [size, bytes, keys] :
       {std::tuple<const char*, std::size_t, std::size_t>{"100 B", 100, 20'000},
        {"1 KiB", 1024, 20'000},
        {"64 KiB", 65'536, 300}}) {
    const std::string name = size;
    const std::size_t slices = bytes < 10'000 ? 600 : 60;
    const std::string value(bytes, 'v');
    const auto key = [keys = keys](std::size_t i) { return "k" + std::to_string(i % keys); };
    for (const char* const alias : {"with checksums", "without checksums"}) {
      polycache::caches[alias].clear();
      for (std::size_t i = 0; i < keys; ++i) polycache::caches[alias].set(key(i), value);
    }
    table.add(with_and_without(
        "checksums", name + " get, checked", slices,
        [=](Cache& cache, std::size_t i) { return cache.get(key(i)).has_value(); }));
    table.add(
        with_and_without("checksums", name + " set, checked", slices,
                         [=](Cache& cache, std::size_t i) { return cache.set(key(i), value); }));
    table.add(with_and_without(
        "checksums", name + " touch, checked", slices,
        [=](Cache& cache, std::size_t i) { return cache.touch(key(i), std::chrono::hours(1)); }));
  }
}

bool run_all(const duel::Options& options) {
  const polycache::testing::TemporaryFolder folder;
  const auto file = [&](const std::string& name) { return (folder.path() / name).string(); };
  polycache::Config config;
  config.caches = {{"100 B", alias_at(file("small.db"))},
                   {"1 KiB", alias_at(file("large.db"))},
                   {"limited", alias_at(file("limited.db"))},
                   {"with near", alias_at(file("near.db"))},
                   {"without near", alias_at(file("far.db"))},
                   {"with limits", alias_at(file("below.db"))},
                   {"with a size limit", alias_at(file("sized.db"))},
                   {"without a size limit", alias_at(file("unsized.db"))},
                   {"with a full table", alias_at(file("full.db"))},
                   {"without limits", alias_at(file("free.db"))},
                   {"with checksums", alias_at(file("with.db"))},
                   {"without checksums", alias_at(file("without.db"))}};
  config.caches["with checksums"].options = {{"checksum", true}};
  config.caches["with near"].options = {{"near", "64MiB"}};
  config.caches["limited"].options = {{"max_entries", entry_limit}};
  config.caches["with limits"].options = {{"max_entries", 1'000'000}};
  config.caches["with a size limit"].options = {{"max_entries", 1'000'000}, {"size_limit", "1GiB"}};
  config.caches["with a full table"].options = {{"max_entries", 100'000}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::sqlite::plugin}});
  duel::Table table(
      options,
      {.title = "sqlite, against SQLite " + std::string(sqlite3_libversion()), .theirs = "bare"});
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{1024}}) {
    const std::string alias = bytes == 100 ? "100 B" : "1 KiB";
    const std::string bare_path = file(alias + " bare.db");
    Bare bare(bare_path);
    duel::Clients<Bare> clients({.alias = alias,
                                 .name = alias,
                                 .value_bytes = bytes,
                                 .keys = 100'000,
                                 .reads = {200, 1000},
                                 .writes = {100, 600},
                                 .bulk_reads = {5, 1000},
                                 .bulk_writes = {1, 600},
                                 .of_writes = duel::Average::sum,
                                 .get = duel::at_least("D1", 0.95),
                                 .set = duel::at_least("D3", 0.9),
                                 .get_many = duel::at_least("D1", 0.95),
                                 .set_many = duel::at_least("D3", 0.9)},
                                bare);
    clients.run(table, duel::Stopwatch(options));
    if (bytes == 100) {
      run_evictions(table, clients, file("limited bare.db"));
      run_threads(table, clients, alias, bare_path);
    }
  }
  duel::Table near(options, {.title = "sqlite, with a near tier", .theirs = "without"});
  run_near(near);
  duel::Table limits(options,
                     {.title = "sqlite with limits, against sqlite without", .theirs = "without"});
  run_limits(limits);
  duel::Table checksums(
      options, {.title = "sqlite with checksums, against sqlite without", .theirs = "without"});
  run_checksums(checksums);
  polycache::global_registry().close_all();
  return table.met() && near.met() && limits.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("sqlite", argc, argv, run_all); }
