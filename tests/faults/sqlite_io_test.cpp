// SQLite over a file layer that fails: every operation at every call, errors by chance, a full
// disk, files that end too soon, and file systems without shared memory.

#include <atomic>
#include <functional>
#include <latch>
#include <map>
#include <random>

#include "faults/sqlite_fault_vfs.h"
#include "faults/sqlite_fixture.h"

namespace polycache::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = SqliteFaultVfs::Kind;
using State = std::map<std::string, std::string>;

constexpr Ttl forever = Ttl::forever();
const std::string large_value(20'000, 'L');  // on pages of its own

template <class Extension>
Extension& extension(Backend& session) {
  return *static_cast<Extension*>(session.extension(Extension::id));
}

// An operation, and what is in the store after it.
struct Operation {
  const char* name;
  std::function<void(Backend&, const State& before)> run;
  State after;
};

State with(State state, const std::string& key, const std::string& value) {
  state[key] = value;
  return state;
}

State without(State state, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) state.erase(key);
  return state;
}

// A sink that takes only what is true.
auto expecting(const State& state, std::string_view key) {
  return [&state, key](std::string_view value) {
    const std::string& whole = state.at(std::string(key));
    EXPECT_EQ(value.substr(0, 64), std::string_view(whole).substr(0, 64)) << key;
    if (value.size() != 64) {
      EXPECT_EQ(value, whole) << key;
    }
  };
}

std::vector<Operation> reading(const State& b) {
  return {
      {"get", [](Backend& s, const State& is) { s.get("k", expecting(is, "k")); }, b},
      {"get a large one",
       [](Backend& s, const State& is) { s.get("large", expecting(is, "large")); }, b},
      {"get with ttl",
       [](Backend& s, const State& is) {
         extension<TtlExtension>(s).get("k", [&](std::string_view value, Ttl left) {
           EXPECT_EQ(value, is.at("k"));
           EXPECT_TRUE(left.is_forever());
         });
       },
       b},
      {"contains", [](Backend& s, const State& is) { s.contains("large", expecting(is, "large")); },
       b},
      {"get_many",
       [](Backend& s, const State& is) {
         const std::vector<std::string_view> keys{"k", "none", "n", "large"};
         s.get_many(keys, [&](std::size_t i, std::string_view value) {
           EXPECT_EQ(value, is.at(std::string(keys[i])));
         });
       },
       b},
  };
}

std::vector<Operation> writing(const State& b) {
  return {
      {"put", [](Backend& s, const State&) { s.put("k", "new", forever, PutMode::always); },
       with(b, "k", "new")},
      {"put a large one",
       [](Backend& s, const State&) { s.put("k", large_value, forever, PutMode::always); },
       with(b, "k", large_value)},
      {"add", [](Backend& s, const State&) { s.put("x", "1", forever, PutMode::if_absent); },
       with(b, "x", "1")},
      {"put if present",
       [](Backend& s, const State&) { s.put("k", "new", forever, PutMode::if_present); },
       with(b, "k", "new")},
      {"touch", [](Backend& s, const State&) { s.touch("k", Ttl(1h)); }, b},
      {"erase", [](Backend& s, const State&) { s.erase("large"); }, without(b, {"large"})},
      {"incr", [](Backend& s, const State&) { s.incr("n", 1); }, with(b, "n", "42")},
      {"pop",
       [](Backend& s, const State& is) { extension<PopExtension>(s).pop("k", expecting(is, "k")); },
       without(b, {"k"})},
      {"put if equal",
       [](Backend& s, const State&) {
         extension<CompareExtension>(s).put_if_equal("k", "old", "new", std::nullopt);
       },
       with(b, "k", "new")},
      {"erase if equal",
       [](Backend& s, const State&) { extension<CompareExtension>(s).erase_if_equal("k", "old"); },
       without(b, {"k"})},
      {"put_many",
       [](Backend& s, const State&) {
         const std::vector<Item> items{{"k", "new", forever}, {"x", "1", forever}};
         s.put_many(items, PutMode::always, [](std::size_t) { ADD_FAILURE() << "not stored"; });
       },
       with(with(b, "k", "new"), "x", "1")},
      {"erase_many",
       [](Backend& s, const State&) {
         s.erase_many(std::vector<std::string_view>{"k", "large"});
       },
       without(b, {"k", "large"})},
      {"erase_prefix",
       [](Backend& s, const State&) { extension<ErasePrefixExtension>(s).erase_prefix("l"); },
       without(b, {"large"})},
      {"clear", [](Backend& s, const State&) { s.clear(); }, {}},
  };
}

// All that is in the store, read twice, the second time in one go.
State read_all(Backend& session) {
  const std::vector<std::string_view> keys{"k", "n", "large", "x"};
  State state;
  for (const std::string_view key : keys) {
    session.get(key, [&](std::string_view value) { state.emplace(key, value); });
  }
  State again;
  session.get_many(keys,
                   [&](std::size_t i, std::string_view value) { again.emplace(keys[i], value); });
  EXPECT_EQ(state, again);
  return state;
}

const State state_before{{"k", "old"}, {"n", "41"}, {"large", large_value}};

// Fails each call of an operation in turn, on a file that is opened for it.
class SqliteEveryCall : public SqliteFixture {
 protected:
  SqliteEveryCall() {
    const auto session = factory_->connect();
    for (const auto& [key, value] : state_before)
      session->put(key, value, forever, PutMode::always);
  }

  void SetUp() override {
    template_ = read_file(path());
    ASSERT_EQ(folder_.names(), std::set<std::string>{"cache.db"});
  }

  // Returns how many calls there were.
  std::uint64_t fail_each_call_of(const Operation& operation, Kind kind) {
    for (std::uint64_t n = 1;; ++n) {
      SCOPED_TRACE(std::string(operation.name) + ", call " + std::to_string(n));
      restore();
      const bool done = run(operation, n, kind);
      const bool failed = vfs_.injected() > 0;
      vfs_.heal();
      check(operation, done, kind);
      if (::testing::Test::HasFailure()) return n;
      if (!failed) return n - 1;
    }
  }

  void restore() {
    for (const std::string& name : folder_.names()) fs::remove(folder_.file(name));
    if (!template_.empty()) write_file(path(), template_);
  }

  // Whether it said that it was done; the connection is closed while calls may still fail.
  bool run(const Operation& operation, std::uint64_t n, Kind kind) {
    const auto session = factory_->connect();
    vfs_.fail_call(n, kind);
    try {
      operation.run(*session, before_);
      return true;
    } catch (const BackendError& error) {
      EXPECT_THAT(error.what(), HasSubstr("sqlite"));
      return false;
    }
  }

  // The store is sound, holds what it held before or after the operation, and serves.
  void check(const Operation& operation, bool done, Kind kind) {
    {
      const auto session = factory_->connect();
      const State state = read_all(*session);
      if (kind == Kind::short_read && !moved_aside().empty()) {
        for (const auto& [key, value] : state) EXPECT_EQ(value, operation.after.at(key));
      } else {
        EXPECT_THAT(moved_aside(), IsEmpty());
        if (done || state != before_) {
          EXPECT_EQ(state, operation.after);
        }
      }
      EXPECT_TRUE(session->put("x", "sound", forever, PutMode::always));
      EXPECT_EQ(read_all(*session).at("x"), "sound");
    }
    EXPECT_EQ(check_integrity(), "ok");
  }

  SqliteFaultVfs vfs_;
  const std::unique_ptr<BackendFactory> factory_ = make({{"wal_autocheckpoint", std::int64_t{1}}});
  State before_ = state_before;
  std::string template_;
};

TEST_F(SqliteEveryCall, MayFailWhileReading) {
  for (const Operation& operation : reading(state_before)) {
    EXPECT_GT(fail_each_call_of(operation, Kind::error), 10U) << operation.name;
    if (HasFailure()) break;
  }
}

TEST_F(SqliteEveryCall, MayFailWhileWriting) {
  for (const Operation& operation : writing(state_before)) {
    EXPECT_GT(fail_each_call_of(operation, Kind::error), 10U) << operation.name;
    if (HasFailure()) break;
  }
}

TEST_F(SqliteEveryCall, MayMeetAFullDisk) {
  for (const Operation& operation : writing(state_before)) {
    EXPECT_GT(fail_each_call_of(operation, Kind::full), 0U) << operation.name;
    if (HasFailure()) break;
  }
}

// A page that ends too soon is no sound page, and the file is taken for damaged. (On a value of
// several pages SQLite would not notice: it has no checksums.)
TEST_F(SqliteEveryCall, MayReadTooLittle) {
  factory_->connect()->erase("large");
  template_ = read_file(path());
  before_ = without(state_before, {"large"});
  for (const Operation& operation : writing(before_)) {
    if (std::string_view(operation.name) == "put a large one") continue;
    EXPECT_GT(fail_each_call_of(operation, Kind::short_read), 3U) << operation.name;
    if (HasFailure()) break;
  }
}

TEST_F(SqliteEveryCall, MayFailWhileTheFileIsMade) {
  template_.clear();
  const Operation put{"put",
                      [](Backend& s, const State&) { s.put("k", "1", forever, PutMode::always); },
                      {{"k", "1"}}};
  for (const Kind kind : {Kind::error, Kind::full}) {
    for (std::uint64_t n = 1;; ++n) {
      SCOPED_TRACE("call " + std::to_string(n));
      restore();
      const bool done = run(put, n, kind);
      const bool failed = vfs_.injected() > 0;
      vfs_.heal();
      const auto session = factory_->connect();
      const State state = read_all(*session);
      if (done || !state.empty()) {
        EXPECT_EQ(state, put.after);
      }
      EXPECT_THAT(moved_aside(), IsEmpty());
      EXPECT_TRUE(session->put("x", "sound", forever, PutMode::always));
      EXPECT_EQ(check_integrity(), "ok");
      if (HasFailure()) return;
      if (!failed) break;
    }
  }
}

// --- through the front ---

// What may be stored under a key: nothing, or one of these.
using Possible = std::set<std::optional<std::string>>;

// A thread that uses keys of its own and believes nothing but what it was told.
class Doubter {
 public:
  Doubter(Cache& cache, int name) : cache_(cache), random_(static_cast<unsigned>(name)) {
    for (std::size_t i = 0; i < key_count; ++i) {
      keys_.push_back("t" + std::to_string(name) + ":" + std::to_string(i));
      possible_.push_back({std::nullopt});
    }
  }

  void do_something() {
    const std::size_t i = static_cast<std::size_t>(random_()) % key_count;
    switch (random_() % 8) {
      case 0:
        return erase(i);
      case 1:
        return add(i);
      case 2:
      case 3:
      case 4:
        return set(i);
      default:
        return get(i, std::nullopt);
    }
  }

  // A sound store says what is there, and keeps what it is given.
  void believe() {
    for (std::size_t i = 0; i < key_count; ++i) {
      get(i, cache_.contains(keys_[i]));
      EXPECT_TRUE(cache_.set(keys_[i], "sound"));
      EXPECT_EQ(cache_.get(keys_[i]), "sound");
    }
  }

  int refused() const noexcept { return refused_; }

 private:
  static constexpr std::size_t key_count = 8;

  std::string new_value() {
    return std::to_string(++count_) + std::string(random_() % 10 == 0 ? 9'000 : 30, 'v');
  }

  // A miss says nothing, unless `there` is known.
  void get(std::size_t i, std::optional<bool> there) {
    const auto value = cache_.get(keys_[i]);
    if (there) {
      EXPECT_EQ(value.has_value(), *there);
    }
    if (!value && !there) return;
    EXPECT_THAT(possible_[i], Contains(value));
    possible_[i] = {value};
  }

  void set(std::size_t i) {
    const std::string value = new_value();
    if (cache_.set(keys_[i], value)) {
      possible_[i] = {value};
    } else {
      possible_[i].insert(value);
      ++refused_;
    }
  }

  void add(std::size_t i) {
    const std::string value = new_value();
    if (cache_.add(keys_[i], value)) {
      EXPECT_THAT(possible_[i], Contains(std::nullopt));
      possible_[i] = {value};
    } else if (possible_[i].count(std::nullopt) != 0) {
      possible_[i].insert(value);
    }
  }

  // Is done, or throws: never lost in silence.
  void erase(std::size_t i) {
    try {
      cache_.erase(keys_[i]);
      possible_[i] = {std::nullopt};
    } catch (const BackendError&) {
      possible_[i].insert(std::nullopt);
      ++refused_;
    }
  }

  Cache& cache_;
  std::minstd_rand random_;
  std::vector<std::string> keys_;
  std::vector<Possible> possible_;
  int count_ = 0;
  int refused_ = 0;
};

class SqliteFaults : public SqliteFixture {
 protected:
  SqliteFaultVfs vfs_;
};

TEST_F(SqliteFaults, RandomErrorsCauseMissesButNoWrongValues) {
  constexpr int thread_count = 3;
  const auto registry = make_registry({{"wal_autocheckpoint", std::int64_t{10}}});
  ASSERT_TRUE((*registry)["c"].set("k", "v"));
  std::atomic<int> refused{0};
  std::latch doubted(thread_count);
  std::latch healed(1);
  std::vector<std::thread> threads;
  vfs_.fail_randomly(0.03, 20260101);
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      Cache& cache = (*registry)["c"];
      Doubter doubter(cache, t);
      for (int i = 0; i < 400; ++i) {
        clock_.advance(20ms);  // what was given up for a while is tried again
        doubter.do_something();
      }
      refused += doubter.refused();
      doubted.count_down();
      healed.wait();
      EXPECT_TRUE(serves(cache));
      doubter.believe();
    });
  }
  doubted.wait();
  vfs_.heal();
  healed.count_down();
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(vfs_.injected(), 0U);
  EXPECT_GT(refused, 0);
  EXPECT_THAT(moved_aside(), IsEmpty());
  EXPECT_TRUE(was_warned(Warning::Kind::degraded));
  EXPECT_EQ(check_integrity(), "ok");
}

TEST_F(SqliteFaults, AnErrorClosesTheConnectionAndTheNextOperationOpensOneAgain) {
  const auto registry = make_registry();
  Cache& cache = (*registry)["c"];
  ASSERT_TRUE(cache.set("k", "v"));
  vfs_.fail_call(1);
  EXPECT_EQ(cache.get("k"), std::nullopt);
  EXPECT_TRUE(was_warned(Warning::Kind::degraded, "disk I/O error"));
  EXPECT_EQ(cache.get("k"), "v");
  EXPECT_TRUE(was_warned(Warning::Kind::recovered));
  vfs_.fail_call(1);
  EXPECT_FALSE(cache.set("k", "w"));
  vfs_.fail_call(1);
  EXPECT_THROW(cache.erase("k"), BackendError);
  EXPECT_EQ(cache.get("k"), "v");
  EXPECT_TRUE(serves(cache));
  EXPECT_TRUE(cache.erase("k"));
}

TEST_F(SqliteFaults, AFileThatCannotBeReadAtAllIsAMissUntilItCan) {
  const auto registry = make_registry();
  Cache& cache = (*registry)["c"];
  ASSERT_TRUE(cache.set("k", "v"));
  vfs_.fail_from_now_on();
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(cache.get("k"), std::nullopt);
    EXPECT_FALSE(cache.contains("k"));
    EXPECT_FALSE(cache.set("k", "w"));
    EXPECT_FALSE(cache.add("x", "w"));
    EXPECT_THROW(cache.erase("k"), BackendError);
    EXPECT_THROW(cache.incr("n"), BackendError);
    EXPECT_EQ(cache.get_or_set("k", [] { return std::string("made"); }), "made");
  }
  vfs_.heal();
  EXPECT_TRUE(serves(cache));
  EXPECT_EQ(cache.get("k"), "v");
  EXPECT_THAT(moved_aside(), IsEmpty());
}

// --- a full disk ---

TEST_F(SqliteFaults, AFullDiskRefusesWritesAndGoesOnReading) {
  const auto registry = make_registry();
  Cache& cache = (*registry)["c"];
  ASSERT_TRUE(cache.set("k", "v"));
  vfs_.fail_from_now_on(Kind::full);
  for (int i = 0; i < 30; ++i) {
    clock_.advance(1s);
    EXPECT_FALSE(cache.set("k", "w"));
    EXPECT_FALSE(cache.add("x", "w"));
    EXPECT_THROW(cache.erase("k"), BackendError);
    EXPECT_EQ(cache.get("k"), "v");
  }
  EXPECT_TRUE(was_warned(Warning::Kind::degraded, "disk is full"));
  vfs_.heal();
  EXPECT_TRUE(serves(cache));
  EXPECT_EQ(cache.get("k"), "v");
  EXPECT_TRUE(cache.erase("k"));
  EXPECT_EQ(check_integrity(), "ok");
}

TEST_F(SqliteFaults, AFullDiskIsGivenBackWhatTheLogAndExpiredEntriesTake) {
  const auto registry = make_registry({{"wal_autocheckpoint", std::int64_t{1'000'000}}});
  Cache& cache = (*registry)["c"];
  ASSERT_TRUE(cache.set("k", "v"));
  vfs_.limit_log(400'000);
  for (int i = 0; i < 300; ++i) {
    clock_.advance(1s);  // room is made once a second
    ASSERT_TRUE(cache.set("short" + std::to_string(i), std::string(4'000, 'v'), 10s)) << i;
  }
  EXPECT_GT(vfs_.injected(), 1U);
  EXPECT_EQ(cache.get("k"), "v");
  EXPECT_LT(std::stoi(Database(path()).text("SELECT count(*) FROM cache")), 150);
  EXPECT_THAT(warned(), IsEmpty());
}

// --- no shared memory ---

class SqliteWithoutSharedMemory
    : public SqliteFaults,
      public ::testing::WithParamInterface<SqliteFaultVfs::SharedMemory> {
 protected:
  // Two sessions serve, without a write-ahead log, and have said so.
  void expect_service(CacheRegistry& registry) {
    Cache& cache = registry["c"];
    EXPECT_TRUE(cache.set("k", "v"));
    EXPECT_TRUE(was_warned(Warning::Kind::degraded, "rollback journal"));
    const auto other = registry.open("c");
    EXPECT_EQ(other->get("k"), "v");
    EXPECT_TRUE(other->set("k", "w"));
    EXPECT_EQ(cache.get("k"), "w");
    EXPECT_EQ(Database(path()).text("PRAGMA journal_mode"), "delete");
    EXPECT_EQ(check_integrity(), "ok");
    EXPECT_FALSE(fs::exists(path("-wal")));
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, SqliteWithoutSharedMemory,
                         ::testing::Values(SqliteFaultVfs::SharedMemory::absent,
                                           SqliteFaultVfs::SharedMemory::fails),
                         [](const auto& way) {
                           return way.param == SqliteFaultVfs::SharedMemory::absent ? "Absent"
                                                                                    : "Fails";
                         });

TEST_F(SqliteFaults, SharedMemoryThatFailsForAWhileIsUsedAgainByAllThreads) {
  const auto registry = make_registry();
  ASSERT_TRUE((*registry)["c"].set("k", "v"));
  const auto other = registry->open("c");
  vfs_.set_shared_memory(SqliteFaultVfs::SharedMemory::fails);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(other->get("k"), std::nullopt);
  vfs_.set_shared_memory(SqliteFaultVfs::SharedMemory::works);
  EXPECT_TRUE(serves(*other));
  EXPECT_EQ(other->get("k"), "v");
  EXPECT_EQ(Database(path()).text("PRAGMA journal_mode"), "wal");
}

TEST_F(SqliteFaults, SharedMemoryThatFailsOnceCostsNothing) {
  const auto registry = make_registry();
  ASSERT_TRUE((*registry)["c"].set("k", "v"));
  vfs_.set_shared_memory(SqliteFaultVfs::SharedMemory::fails_once);
  EXPECT_EQ(registry->open("c")->get("k"), "v");
  vfs_.set_shared_memory(SqliteFaultVfs::SharedMemory::fails_once);
  EXPECT_TRUE(registry->open("c")->set("k", "w"));
  EXPECT_THAT(warned(), IsEmpty());
}

TEST_F(SqliteFaults, SharedMemoryThatFailsForAWhileIsUsedAgainWithOtherProcesses) {
  ASSERT_TRUE((*make_registry())["c"].set("k", "v"));
  Database elsewhere(path());  // for the store the same as another process
  ASSERT_EQ(elsewhere.text("SELECT count(*) FROM polycache_meta"), "1");
  vfs_.set_shared_memory(SqliteFaultVfs::SharedMemory::fails);
  const auto registry = make_registry({{"busy_timeout", "10ms"}});
  Cache& cache = (*registry)["c"];
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cache.get("k"), std::nullopt);
  vfs_.set_shared_memory(SqliteFaultVfs::SharedMemory::works);
  EXPECT_TRUE(serves(cache));
  EXPECT_EQ(cache.get("k"), "v");
  EXPECT_EQ(elsewhere.text("PRAGMA journal_mode"), "wal");
}

TEST_P(SqliteWithoutSharedMemory, ANewFileGetsARollbackJournalAndAWarning) {
  vfs_.set_shared_memory(GetParam());
  expect_service(*make_registry());
}

// Each try at a write-ahead log marks the file as one that has it, and others, who go on without,
// cannot read it until it is changed back. So there are no more than two in a process (one more if
// the first ended for another reason), whatever goes wrong with the opening.
TEST_F(SqliteFaults, AFileWithoutALogIsNotMarkedAgainAndAgain) {
  constexpr std::uint64_t for_one_try = 2;  // so often SQLite asks
  vfs_.set_shared_memory(SqliteFaultVfs::SharedMemory::fails);
  ASSERT_TRUE((*make_registry())["c"].set("k", "v"));
  ASSERT_EQ(Database(path()).text("PRAGMA journal_mode"), "delete");
  const std::string bytes = read_file(path());
  std::uint64_t most = 0;
  bool failed = true;
  for (std::uint64_t n = 1; failed && !HasFailure(); ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    for (const char* const tail : {"", "-wal", "-shm", "-journal"}) fs::remove(path(tail));
    write_file(path(), bytes);
    vfs_.set_shared_memory(SqliteFaultVfs::SharedMemory::fails);
    TestContext process(clock_);  // one that knows nothing yet
    const auto factory = make_factory(sqlite::plugin, process, {{path()}, {}});
    const auto session = factory->connect();
    const auto get = [&] { return session->get(":1:k", [](std::string_view) {}); };
    vfs_.fail_call(n);
    try {
      get();
    } catch (const BackendError&) {
    }
    failed = vfs_.injected() > 0;
    vfs_.heal();
    EXPECT_TRUE(get());
    most = std::max(most, vfs_.shared_memory_refusals());
    EXPECT_LE(most, 3 * for_one_try);
  }
  EXPECT_GE(most, 2 * for_one_try);
}

TEST_P(SqliteWithoutSharedMemory, AFileWithAWriteAheadLogIsChanged) {
  ASSERT_TRUE((*make_registry())["c"].set("before", "v"));
  vfs_.set_shared_memory(GetParam());
  {
    const auto registry = make_registry();
    EXPECT_EQ((*registry)["c"].get("before"), "v");
    expect_service(*registry);
  }
  vfs_.set_shared_memory(SqliteFaultVfs::SharedMemory::works);
  const auto registry = make_registry();
  EXPECT_EQ((*registry)["c"].get("before"), "v");
  EXPECT_TRUE(serves((*registry)["c"]));
}

}  // namespace
}  // namespace polycache::testing
