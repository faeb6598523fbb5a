// The sqlite store through caches["alias"] against SQLite's bare C interface, each on a file
// of its own in a temporary folder (TMPDIR).
//
//   sqlite [--quick] [--cpu]
//
// With --cpu the time is what this process spent on the CPU, not what passed: for a machine
// that is busy with other things. (Not for the rows with several threads.)
//
// The bare side opens its file by sqlite3_open() and has the same table, pragmas, prepared
// statements and transactions; it hashes the key, checks the lifetime and copies the value into
// a std::string, as anybody must. Ours also builds the final key and works for any number of
// threads, processes and forks. Both take turns in slices; a ratio is that of two neighbouring
// slices, and shown are the median of all and the quartiles. For writes it is that of the sums:
// a checkpoint falls into few slices, but is part of the price. Every write is of another
// value, since SQLite skips a page that does not change.
//
// Goals: D1, get and get_many(100) at least 0.95 times as fast as the bare interface; D3, set
// and set_many at least 0.9 times.

#include <polycache/backends/sqlite.h>
#include <polycache/polycache.h>
#include <sqlite3.h>
#include <time.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeys = 100'000;
constexpr std::size_t kMany = 100;  // keys of one bulk operation

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "sqlite benchmark: %s\n", why.c_str());
  std::exit(2);
}

void expect(bool good) {
  if (!good) give_up("an operation had the wrong result");
}

// --- The bare interface ---

class Bare {
 public:
  explicit Bare(const std::string& path) {
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
    begin_ = prepare("BEGIN");
    begin_write_ = prepare("BEGIN IMMEDIATE");
    commit_ = prepare("COMMIT");
  }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  ~Bare() {
    for (sqlite3_stmt* const statement : {get_, set_, begin_, begin_write_, commit_}) {
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

  void set(const std::string& key, std::string_view value) {
    const sqlite3_int64 written = now();
    sqlite3_bind_int64(set_, 1, id(key));
    sqlite3_bind_blob(set_, 2, key.data(), static_cast<int>(key.size()), SQLITE_STATIC);
    sqlite3_bind_int64(set_, 3, written + 300'000);
    sqlite3_bind_int64(set_, 4, written);
    sqlite3_bind_blob(set_, 5, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    run(set_);
  }

  std::vector<std::optional<std::string>> get_many(const std::vector<std::string>& keys) {
    std::vector<std::optional<std::string>> values;
    values.reserve(keys.size());
    run(begin_);
    for (const std::string& key : keys) values.push_back(get(key));
    run(commit_);
    return values;
  }

  void set_many(const std::vector<std::pair<std::string, std::string>>& items) {
    run(begin_write_);
    for (const auto& [key, value] : items) set(key, value);
    run(commit_);
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
    if (code != SQLITE_OK) give_up(std::string("bare SQLite: ") + sqlite3_errmsg(database_));
  }
  void execute(const char* sql) { check(sqlite3_exec(database_, sql, nullptr, nullptr, nullptr)); }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    check(sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr));
    return statement;
  }
  void run(sqlite3_stmt* statement) {
    const int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) check(code);
  }

  sqlite3* database_ = nullptr;
  sqlite3_stmt* get_ = nullptr;
  sqlite3_stmt* set_ = nullptr;
  sqlite3_stmt* begin_ = nullptr;
  sqlite3_stmt* begin_write_ = nullptr;
  sqlite3_stmt* commit_ = nullptr;
};

// --- Taking turns ---

struct Quartiles {
  double low;
  double median;
  double high;
};

Quartiles quartiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
  };
  return {at(0.25), at(0.5), at(0.75)};
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

enum class Kind { reads, writes };

struct Contest {
  std::string name;
  Kind kind = Kind::reads;
  std::size_t operations = 0;  // of one slice
  std::size_t keys_each = 1;   // of one operation
  std::size_t slices = 0;
  std::optional<double> goal = {};  // theirs / ours
  // Each runs operations `first`, `first` + 1, ... and returns the nanoseconds it took.
  std::function<double(std::size_t first, std::size_t operations)> ours;
  std::function<double(std::size_t first, std::size_t operations)> theirs;
};

bool report(const Contest& contest) {
  std::vector<double> ours;
  std::vector<double> theirs;
  std::vector<double> ratios;
  const auto keys = static_cast<double>(contest.operations * contest.keys_each);
  for (std::size_t slice = 0; slice < contest.slices; ++slice) {
    const std::size_t first = slice * contest.operations;
    const auto run = [&](const auto& contender, std::vector<double>& times) {
      times.push_back(contender(first, contest.operations) / 1e3 / keys);
    };
    // Who goes first may have the warmer caches, or not.
    if (slice % 2 == 0) run(contest.ours, ours);
    run(contest.theirs, theirs);
    if (slice % 2 != 0) run(contest.ours, ours);
    ratios.push_back(theirs.back() / ours.back());
  }
  const Quartiles spread = quartiles(ratios);
  const bool by_sum = contest.kind == Kind::writes;
  const auto count = static_cast<double>(contest.slices);
  const double our_time = by_sum ? sum(ours) / count : quartiles(ours).median;
  const double their_time = by_sum ? sum(theirs) / count : quartiles(theirs).median;
  const double ratio = by_sum ? sum(theirs) / sum(ours) : spread.median;
  const bool met = !contest.goal || ratio >= *contest.goal;
  std::printf("| %-34s | %8.2f | %8.2f | %5.2f (%.2f to %.2f) |", contest.name.c_str(), our_time,
              their_time, ratio, spread.low, spread.high);
  if (contest.goal) {
    std::printf(" %4.2f | %-6s |\n", *contest.goal, met ? "met" : "missed");
  } else {
    std::printf("      |        |\n");
  }
  std::fflush(stdout);
  return met;
}

// Few keys often, many seldom: the k-th most popular one with a probability like 1/k.
std::vector<std::size_t> popular_keys(std::size_t count) {
  std::vector<double> sums;
  double total = 0;
  for (std::size_t i = 0; i < kKeys; ++i) {
    total += 1.0 / static_cast<double>(i + 1);
    sums.push_back(total);
  }
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> anywhere(0, total);
  std::vector<std::size_t> keys;
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = std::lower_bound(sums.begin(), sums.end(), anywhere(random));
    keys.push_back(static_cast<std::size_t>(at - sums.begin()));
  }
  return keys;
}

// One size of values: an alias of ours, and a bare file.
class Round {
 public:
  Round(std::string alias, std::string bare_path, std::size_t value_bytes, clockid_t clock,
        bool quick)
      : alias_(std::move(alias)),
        bare_path_(std::move(bare_path)),
        bare_(bare_path_),
        value_bytes_(value_bytes),
        clock_(clock),
        quick_(quick) {
    for (std::size_t i = 0; i < kKeys; ++i) {
      keys_.push_back("user:profile:" + std::to_string(i * 7919 % kKeys));
      finals_.push_back(cache().final_key(keys_.back()));
    }
    for (std::size_t group = 0; group < kKeys / kMany; ++group) {
      const auto first = static_cast<std::ptrdiff_t>(group * kMany);
      const auto last = first + static_cast<std::ptrdiff_t>(kMany);
      key_groups_.emplace_back(keys_.begin() + first, keys_.begin() + last);
      final_groups_.emplace_back(finals_.begin() + first, finals_.begin() + last);
      expect(cache().set_many(items(key_groups_.back())).empty());
      bare_.set_many(items(final_groups_.back()));
    }
  }

  bool run() {
    bool met = true;
    for (const Contest& contest : contests()) met = report(contest) && met;
    return met;
  }

 private:
  polycache::Cache& cache() const { return polycache::caches[alias_]; }
  const std::string& key(std::size_t i) const { return keys_[i % kKeys]; }
  const std::string& final_key(std::size_t i) const { return finals_[i % kKeys]; }

  // Another one each time.
  std::string_view next_value() {
    ++written_;
    value_.assign(value_bytes_, 'v');
    return value_.replace(0, sizeof written_, reinterpret_cast<const char*>(&written_),
                          sizeof written_);
  }

  std::vector<std::pair<std::string, std::string>> items(const std::vector<std::string>& keys) {
    std::vector<std::pair<std::string, std::string>> items;
    for (const std::string& k : keys) items.emplace_back(k, next_value());
    return items;
  }

  double now() const {
    timespec time{};
    ::clock_gettime(clock_, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  }

  template <class Operation>
  std::function<double(std::size_t, std::size_t)> timed(Operation operation) {
    return [this, operation](std::size_t first, std::size_t operations) {
      const double begin = now();
      for (std::size_t i = first; i < first + operations; ++i) operation(i);
      return now() - begin;
    };
  }

  // Bulk writes: the items are made before the time is taken.
  template <class Operation>
  std::function<double(std::size_t, std::size_t)> timed_items(
      const std::vector<std::vector<std::string>>& groups, Operation operation) {
    return [this, &groups, operation](std::size_t first, std::size_t operations) {
      double took = 0;
      for (std::size_t i = first; i < first + operations; ++i) {
        const auto batch = items(groups[i * 37 % groups.size()]);
        const double begin = now();
        operation(batch);
        took += now() - begin;
      }
      return took;
    };
  }

  // Reads in several threads, each with its own connection, which is open when time begins.
  template <class MakeReader>
  std::function<double(std::size_t, std::size_t)> timed_threads(std::size_t count,
                                                                MakeReader make_reader) {
    return [this, count, make_reader](std::size_t first, std::size_t operations) {
      std::barrier line(static_cast<std::ptrdiff_t>(count) + 1);
      std::vector<std::thread> threads;
      for (std::size_t t = 0; t < count; ++t) {
        threads.emplace_back([&, t] {
          const auto read = make_reader();
          for (std::size_t i = 0; i < 200; ++i) read(i);
          line.arrive_and_wait();
          for (std::size_t i = t; i < operations; i += count) read(first + i);
          line.arrive_and_wait();
        });
      }
      line.arrive_and_wait();
      const auto begin = std::chrono::steady_clock::now();
      line.arrive_and_wait();
      const std::chrono::duration<double, std::nano> took =
          std::chrono::steady_clock::now() - begin;
      for (std::thread& thread : threads) thread.join();
      return took.count();
    };
  }

  Contest threads_contest(const std::string& size, std::size_t count) {
    return {
        .name = size + " get, " + std::to_string(count) + " threads",
        .operations = 20'000,
        .slices = quick_ ? std::size_t{5} : std::size_t{21},
        .ours = timed_threads(
            count,
            [this] { return [this](std::size_t i) { expect(cache().get(key(i)).has_value()); }; }),
        .theirs = timed_threads(count, [this] {
          return [this, bare = std::make_shared<Bare>(bare_path_)](std::size_t i) {
            expect(bare->get(final_key(i)).has_value());
          };
        })};
  }

  std::vector<Contest> contests() {
    const std::string size = value_bytes_ == 100 ? "100 B" : "1 KiB";
    const std::size_t slices = quick_ ? 200 : 1000;
    const std::size_t write_slices = quick_ ? 100 : 600;
    std::vector<Contest> all;
    all.push_back({.name = size + " get",
                   .operations = 200,
                   .slices = slices,
                   .goal = 0.95,
                   .ours = timed([this](std::size_t i) {
                     expect(cache().get(key(i))->size() == value_bytes_);
                   }),
                   .theirs = timed([this](std::size_t i) {
                     expect(bare_.get(final_key(i))->size() == value_bytes_);
                   })});
    all.push_back(
        {.name = size + " get, miss",
         .operations = 200,
         .slices = slices,
         .ours = timed([this](std::size_t) { expect(!cache().get("user:profile:none")); }),
         .theirs =
             timed([this](std::size_t) { expect(!bare_.get("bench:1:user:profile:none")); })});
    all.push_back(
        {.name = size + " get_many(100), per key",
         .operations = 5,
         .keys_each = kMany,
         .slices = slices,
         .goal = 0.95,
         .ours = timed([this](std::size_t i) {
           expect(cache().get_many(key_groups_[i % key_groups_.size()]).back().has_value());
         }),
         .theirs = timed([this](std::size_t i) {
           expect(bare_.get_many(final_groups_[i % final_groups_.size()]).back().has_value());
         })});
    all.push_back(
        {.name = size + " set",
         .kind = Kind::writes,
         .operations = 100,
         .slices = write_slices,
         .goal = 0.9,
         .ours = timed([this](std::size_t i) { expect(cache().set(key(i), next_value())); }),
         .theirs = timed([this](std::size_t i) { bare_.set(final_key(i), next_value()); })});
    all.push_back(
        {.name = size + " set_many(100), per key",
         .kind = Kind::writes,
         .operations = 1,
         .keys_each = kMany,
         .slices = write_slices,
         .goal = 0.9,
         .ours = timed_items(
             key_groups_, [this](const auto& batch) { expect(cache().set_many(batch).empty()); }),
         .theirs =
             timed_items(final_groups_, [this](const auto& batch) { bare_.set_many(batch); })});
    all.push_back({.name = size + " get:set 95:5, zipf",
                   .kind = Kind::writes,
                   .operations = 200,
                   .slices = slices,
                   .ours = timed([this](std::size_t i) {
                     const std::size_t k = popular_[i % popular_.size()];
                     expect(i % 20 == 0 ? cache().set(keys_[k], next_value())
                                        : cache().get(keys_[k]).has_value());
                   }),
                   .theirs = timed([this](std::size_t i) {
                     const std::size_t k = popular_[i % popular_.size()];
                     if (i % 20 == 0) {
                       bare_.set(finals_[k], next_value());
                     } else {
                       expect(bare_.get(finals_[k]).has_value());
                     }
                   })});
    if (value_bytes_ == 100) {
      for (const std::size_t count : {2, 8}) all.push_back(threads_contest(size, count));
    }
    return all;
  }

  const std::string alias_;
  const std::string bare_path_;
  Bare bare_;
  const std::size_t value_bytes_;
  const clockid_t clock_;
  const bool quick_;
  std::vector<std::string> keys_;
  std::vector<std::string> finals_;
  std::vector<std::vector<std::string>> key_groups_;
  std::vector<std::vector<std::string>> final_groups_;
  std::uint64_t written_ = 0;
  std::string value_;
  const std::vector<std::size_t> popular_ = popular_keys(20'000);
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "polycache-benchmark-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) give_up("cannot make a temporary folder");
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

polycache::CacheConfig alias_at(const std::string& location) {
  polycache::CacheConfig config;
  config.backend = "sqlite";
  config.location = {location};
  config.key_prefix = "bench";
  return config;
}

bool run_all(bool quick, bool cpu) {
  const TemporaryFolder folder;
  polycache::Config config;
  config.caches = {{"small", alias_at(folder.file("small.db"))},
                   {"large", alias_at(folder.file("large.db"))}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::sqlite::plugin}});
  std::printf("sqlite: ours against bare SQLite %s, microseconds%s, %zu keys\n",
              sqlite3_libversion(), cpu ? " on the CPU" : "", kKeys);
  std::printf(
      "ratio: theirs / ours; median of pairs of slices (writes: of the sums), quartiles\n\n");
  std::printf("| %-34s | %8s | %8s | %-20s | %-4s | %-6s |\n", "operation", "ours", "bare", "ratio",
              "goal", "");
  std::printf(
      "|------------------------------------|---------:|---------:|----------------------|------|--"
      "------|\n");
  const clockid_t clock = cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  const bool small = Round("small", folder.file("small-bare.db"), 100, clock, quick).run();
  const bool large = Round("large", folder.file("large-bare.db"), 1024, clock, quick).run();
  polycache::global_registry().close_all();
  return small && large;
}

}  // namespace

// Exit status: 0 if every goal is met, 1 if one is missed, 2 if nothing could be measured.
int main(int argc, char** argv) {
  bool quick = false;
  bool cpu = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--quick") {
      quick = true;
    } else if (word == "--cpu") {
      cpu = true;
    } else {
      give_up("usage: sqlite [--quick] [--cpu]");
    }
  }
  try {
    return run_all(quick, cpu) ? 0 : 1;
  } catch (const std::exception& problem) {
    give_up(problem.what());
  }
}
