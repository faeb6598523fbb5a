// Index on sqlite against Index of Python's diskcache, which runs in a Python process of its own:
// it is told how many operations to do and answers how long they took.
//
//   index [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Goal: each operation at least 3 times as fast. Exit status 77 where diskcache is not installed
// (Debian: python3-diskcache). The rows "bare" say how much faster than diskcache SQLite's C
// interface is, with one prepared statement for each step on a table like ours.

#include <polycache/backends/sqlite.h>
#include <polycache/index.h>
#include <polycache/polycache.h>
#include <sqlite3.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

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

// What no program over SQLite can do without.
class Bare {
 public:
  Bare(const std::string& path, const std::vector<std::string>& keys, std::string_view value) {
    check(sqlite3_open(path.c_str(), &database_));
    execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=normal; PRAGMA wal_autocheckpoint=10000");
    execute("CREATE TABLE items(key BLOB PRIMARY KEY, value BLOB, position INTEGER) WITHOUT ROWID");
    execute("CREATE INDEX positions ON items(position)");
    find_ = prepare("SELECT value FROM items WHERE key = ?1");
    insert_ = prepare("INSERT INTO items VALUES(?1, ?2, ?3)");
    take_ = prepare(
        "DELETE FROM items WHERE key = (SELECT key FROM items ORDER BY position LIMIT 1) "
        "RETURNING key, value");
    for (const std::string& key : keys) insert(key, value);
  }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  ~Bare() {
    for (sqlite3_stmt* const statement : {find_, insert_, take_}) sqlite3_finalize(statement);
    sqlite3_close(database_);
  }

  bool find(std::string_view key) {
    bind(find_, 1, key);
    const bool found = sqlite3_step(find_) == SQLITE_ROW;
    if (found) value_ = column(find_, 0);
    sqlite3_reset(find_);
    return found;
  }
  bool take_and_insert() {
    if (sqlite3_step(take_) != SQLITE_ROW) return false;
    key_ = column(take_, 0);
    value_ = column(take_, 1);
    sqlite3_reset(take_);
    insert(key_, value_);
    return true;
  }

 private:
  void check(int code) const {
    if (code != SQLITE_OK) duel::give_up(std::string("bare SQLite: ") + sqlite3_errmsg(database_));
  }
  void execute(const char* sql) { check(sqlite3_exec(database_, sql, nullptr, nullptr, nullptr)); }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    check(sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr));
    return statement;
  }
  static void bind(sqlite3_stmt* statement, int parameter, std::string_view bytes) {
    sqlite3_bind_blob64(statement, parameter, bytes.data(), bytes.size(), SQLITE_STATIC);
  }
  static std::string column(sqlite3_stmt* statement, int number) {
    return {static_cast<const char*>(sqlite3_column_blob(statement, number)),
            static_cast<std::size_t>(sqlite3_column_bytes(statement, number))};
  }
  void insert(std::string_view key, std::string_view value) {
    bind(insert_, 1, key);
    bind(insert_, 2, value);
    sqlite3_bind_int64(insert_, 3, ++position_);
    const int code = sqlite3_step(insert_);
    sqlite3_reset(insert_);
    if (code != SQLITE_DONE) check(code);
  }

  sqlite3* database_ = nullptr;
  sqlite3_stmt* find_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  sqlite3_stmt* take_ = nullptr;
  sqlite3_int64 position_ = 0;
  std::string key_, value_;
};

bool run_all(const duel::Options& options) {
  const polycache::testing::TemporaryFolder folder;
  const auto diskcache = duel::find_python({.script = script,
                                            .argument = folder.path() / "theirs",
                                            .name = "index",
                                            .package = "python3-diskcache"},
                                           options);
  polycache::Config config;
  config.caches = {{"default", {.backend = "sqlite", .location = {folder.path() / "ours.db"}}},
                   {"near",
                    {.backend = "sqlite",
                     .location = {folder.path() / "near.db"},
                     .options = {{"near", "8MiB"}}}}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::sqlite::plugin}});
  auto index = polycache::Index<std::string, std::string>::by_insertion("index");
  auto near = polycache::Index<std::string, std::string>::by_insertion("index", {.cache = "near"});
  const std::string value(100, 'v');
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < key_count; ++i) {
    char key[16];
    std::snprintf(key, sizeof key, "user:%06zu", i);
    keys.emplace_back(key);
    duel::expect(index.insert(keys.back(), value));
    duel::expect(near.insert(keys.back(), value));
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
  table.add(contest("find 100 B, near", "find", 500, duel::each([&](std::size_t i) {
                      duel::expect(near.find(keys[i % key_count]).has_value());
                    })));
  table.add(contest("assign 100 B", "assign", 200, duel::each([&](std::size_t i) {
                      duel::expect(!index.insert_or_assign(keys[i % key_count], value));
                    })));
  table.add(contest("popitem and insert", "pop", 100, duel::each([&](std::size_t) {
                      const auto item = index.popitem(polycache::IndexEnd::first);
                      duel::expect(item && index.insert(item->first, item->second));
                    })));
  Bare bare(folder.path() / "bare.db", keys, value);
  const auto bare_contest = [&](const char* name, const char* operation, std::size_t operations,
                                duel::Contender ours) {
    duel::Contest one = contest(name, operation, operations, std::move(ours));
    one.goal.reset();
    return one;
  };
  table.add(bare_contest("find 100 B, bare", "find", 500, duel::each([&](std::size_t i) {
                           duel::expect(bare.find(keys[i % key_count]));
                         })));
  table.add(bare_contest("popitem and insert, bare", "pop", 100,
                         duel::each([&](std::size_t) { duel::expect(bare.take_and_insert()); })));
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
