// SQLite among other processes, people and clocks: killed writers, a busy file, files that are
// deleted, replaced, damaged, read-only or newer, limits, and clocks that are set.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <set>

#include "faults/sqlite_fault_vfs.h"
#include "faults/sqlite_fixture.h"
#include "support/forks.h"

#ifdef __SANITIZE_THREAD__
// Children of a process with threads start threads of their own here, at which ThreadSanitizer
// would end them.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() {
  return "die_after_fork=0";
}
#endif

namespace polycache::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr Ttl forever = Ttl::forever();
const std::string large_value(50'000, 'v');  // on many pages

std::optional<std::string> get(Backend& session, std::string_view key) {
  std::optional<std::string> result;
  session.get(key, [&](std::string_view value) { result.emplace(value); });
  return result;
}

// In a child, where no assertion is heard of.
bool check(bool right, const char* what) {
  if (!right) {
    const std::string message = std::string("in the child: not so: ") + what + "\n";
    static_cast<void>(!::write(STDERR_FILENO, message.data(), message.size()));
  }
  return right;
}

class Pipe {
 public:
  Pipe() {
    if (::pipe(ends_) != 0) throw std::runtime_error("no pipe");
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_reading();
    close_writing();
  }

  void close_reading() { close(ends_[0]); }
  void close_writing() { close(ends_[1]); }

  bool write(int number) { return ::write(ends_[1], &number, sizeof number) == sizeof number; }
  // Empty at the end.
  std::optional<int> read() {
    int number = 0;
    if (::read(ends_[0], &number, sizeof number) != sizeof number) return std::nullopt;
    return number;
  }

 private:
  static void close(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
  int ends_[2] = {-1, -1};
};

// Another process that is in the middle of a transaction.
class Holder {
 public:
  Holder(const std::string& path, const std::string& begin) {
    child_ = start_child([&] {
      release_.close_writing();
      Database database(path);
      database.execute(begin);
      held_.write(1);
      release_.read();
      database.execute("COMMIT");
      return true;
    });
    release_.close_reading();
    held_.close_writing();
    EXPECT_TRUE(held_.read());
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() {
    if (child_ > 0) release();
  }

  void release() {
    release_.close_writing();
    EXPECT_EQ(wait_for(std::exchange(child_, -1)), 0);
  }

 private:
  Pipe held_;
  Pipe release_;
  pid_t child_ = -1;
};

using SqliteProcesses = SqliteFixture;

// --- killed writers ---

// Writes numbered values for ever: to one key of some, to two keys at once, and to a counter.
class NumberedWriter {
 public:
  static constexpr int key_count = 25;

  static std::string key(int number) { return "k" + std::to_string(number % key_count); }
  static std::string value(int number) {
    return std::to_string(number) +
           std::string(static_cast<std::size_t>(number * 7919 % 6000), 'v');
  }
  static int number_of(const std::string& value) { return std::stoi(value); }

  static void write(Backend& session, int number) {
    const std::string bytes = value(number);
    session.put(key(number), bytes, forever, PutMode::always);
    const std::array<Item, 2> both{Item{"left", bytes, forever}, Item{"right", bytes, forever}};
    session.put_many(both, PutMode::always, [](std::size_t) {});
    session.put("n", "0", forever, PutMode::if_absent);
    session.incr("n", 1);
  }
};

class SqliteKilled : public SqliteFixture {
 protected:
  // Starts a writer, kills it at some moment, and learns what it had acknowledged.
  void kill_a_writer(int round) {
    Pipe acknowledged;
    const pid_t child = start_child([&] {
      acknowledged.close_reading();
      const auto session = factory_->connect();
      for (int i = next_;; ++i) {
        NumberedWriter::write(*session, i);
        if (!acknowledged.write(i)) return false;
      }
    });
    acknowledged.close_writing();
    std::optional<int> last;
    // Now and then before it has done anything, as when it makes the file.
    const int wanted = round % 5 == 0 ? 0 : 1 + static_cast<int>(random_() % 8);
    for (int i = 0; i < wanted; ++i) last = acknowledged.read();
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 1500));
    ::kill(child, SIGKILL);
    while (const auto more = acknowledged.read()) last = more;
    EXPECT_EQ(WTERMSIG(wait_for(child)), SIGKILL);
    if (last) next_ = *last + 1;
    ++killed_;
  }

  // Nothing that was acknowledged is lost, nothing is half done, and nothing is what was never
  // written. Each killed writer may have done more than it could say.
  void check_entries() {
    const auto session = factory_->connect();
    for (int number = std::max(0, next_ - NumberedWriter::key_count); number < next_; ++number) {
      const auto value = get(*session, NumberedWriter::key(number));
      ASSERT_TRUE(value) << number;
      const int stored = NumberedWriter::number_of(*value);
      EXPECT_TRUE(stored == number || stored == next_) << stored << ", not " << number;
      EXPECT_EQ(*value, NumberedWriter::value(stored));
    }
    EXPECT_EQ(get(*session, "left"), get(*session, "right"));
    const int count = std::stoi(get(*session, "n").value_or("0"));
    EXPECT_GE(count, next_);
    EXPECT_LE(count, next_ + killed_);
  }

  SqliteFaultVfs without_waiting_for_the_disk_;
  const std::unique_ptr<BackendFactory> factory_ = make({{"wal_autocheckpoint", std::int64_t{20}}});
  std::minstd_rand random_{20260101};
  int next_ = 0;
  int killed_ = 0;
};

TEST_F(SqliteKilled, WritersLoseNothingThatTheyAcknowledged) {
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    kill_a_writer(round);
    ASSERT_EQ(check_integrity(), "ok");
    check_entries();
    if (HasFailure()) return;
  }
  EXPECT_GT(next_, 200);
  EXPECT_THAT(context_.warnings(), IsEmpty());
  EXPECT_THAT(moved_aside(), IsEmpty());
}

// --- a busy file ---

TEST_F(SqliteProcesses, ABusyFileFailsWritesAndIsStillRead) {
  const auto registry = make_registry({{"busy_timeout", "20ms"}});
  Cache& cache = (*registry)["c"];
  ASSERT_TRUE(cache.set("k", "v"));
  Holder holder(path(), "BEGIN IMMEDIATE");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(cache.set("k", "w"));
  EXPECT_FALSE(cache.add("x", "w"));
  EXPECT_FALSE(cache.touch("k", 1h));
  EXPECT_EQ(cache.get("k"), "v");
  try {
    cache.erase("k");
    ADD_FAILURE() << "erased from a locked file";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::overloaded);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, 60s) << "a few times 20 ms were enough";
  EXPECT_TRUE(was_warned(Warning::Kind::degraded, "busy_timeout"));
  holder.release();
  EXPECT_TRUE(serves(cache));
  EXPECT_EQ(cache.get("k"), "v");
  EXPECT_TRUE(cache.erase("k"));
}

TEST_F(SqliteProcesses, ABusyFileWithARollbackJournalIsAMiss) {
  SqliteFaultVfs vfs;
  vfs.set_shared_memory(SqliteFaultVfs::SharedMemory::absent);
  const auto registry = make_registry({{"busy_timeout", "20ms"}});
  Cache& cache = (*registry)["c"];
  ASSERT_TRUE(cache.set("k", "v"));
  Holder holder(path(), "BEGIN EXCLUSIVE");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(cache.get("k"), std::nullopt);
  EXPECT_FALSE(cache.set("k", "w"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 60s) << "a few times 20 ms were enough";
  holder.release();
  EXPECT_TRUE(serves(cache));
  EXPECT_EQ(cache.get("k"), "v");
}

// Whether a body that returns how long it took is faster than the bound in one of many rounds:
// never if it sleeps that long, and not only where the machine is idle.
template <class Body>
bool is_ever_faster_than(std::chrono::nanoseconds bound, Body body) {
  for (int round = 0; round < 20; ++round) {
    if (body() < bound) return true;
  }
  return false;
}

std::chrono::nanoseconds time_until_overloaded(const std::function<void()>& operation) {
  const auto start = std::chrono::steady_clock::now();
  try {
    operation();
    ADD_FAILURE() << "a busy file was used";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::overloaded) << error.what();
  }
  return std::chrono::steady_clock::now() - start;
}

// A thread waits for its turn, then for the other process: together no longer than busy_timeout.
TEST_F(SqliteProcesses, SeveralThreadsWaitForABusyFileNoLongerThanOneDoes) {
  const auto factory = make({{"busy_timeout", "200ms"}});
  std::array<std::unique_ptr<Backend>, 3> sessions;
  for (auto& session : sessions) {
    session = factory->connect();
    session->put("k", "v", forever, PutMode::always);
  }
  Holder holder(path(), "BEGIN IMMEDIATE");
  const auto longest_wait = [&] {
    std::array<std::chrono::nanoseconds, sessions.size()> waited{};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < waited.size(); ++i) {
      threads.emplace_back([&, i] {
        // So that the turn of the one before comes to its end while the next one waits.
        std::this_thread::sleep_for(i * 50ms);
        waited[i] =
            time_until_overloaded([&] { sessions[i]->put("k", "w", forever, PutMode::always); });
      });
    }
    for (std::thread& thread : threads) thread.join();
    return *std::max_element(waited.begin(), waited.end());
  };
  EXPECT_TRUE(is_ever_faster_than(300ms, longest_wait));
}

// The file's header, its schema and its entries: each is waited for.
TEST_F(SqliteProcesses, OpeningABusyFileWaitsNoLongerThanAnyOtherOperation) {
  make()->connect()->put("k", "v", forever, PutMode::always);
  EXPECT_EQ(Database(path()).text("PRAGMA journal_mode=DELETE"), "delete");
  const auto factory = make({{"busy_timeout", "200ms"}});
  Holder holder(path(), "BEGIN EXCLUSIVE");
  EXPECT_TRUE(is_ever_faster_than(
      300ms, [&] { return time_until_overloaded([&] { get(*factory->connect(), "k"); }); }));
}

// --- deleted and replaced ---

TEST_F(SqliteProcesses, ADeletedFileIsMadeAnewAlthoughItsLogIsStillThere) {
  const auto registry = make_registry();
  Cache& cache = (*registry)["c"];
  const auto other = registry->open("c");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(cache.set("k" + std::to_string(i), std::string(500, 'v')));
  }
  EXPECT_EQ(other->get("k7"), std::string(500, 'v'));
  fs::remove(path());
  clock_.advance(1s);
  EXPECT_EQ(cache.get("k7"), std::nullopt);
  EXPECT_TRUE(cache.set("k7", "new"));
  EXPECT_EQ(other->get("k7"), "new");
  EXPECT_EQ(other->get("k8"), std::nullopt);
  EXPECT_TRUE(other->set("k8", "new"));
  EXPECT_EQ(cache.get("k8"), "new");
  EXPECT_EQ(check_integrity(), "ok");
  EXPECT_THAT(moved_aside(), IsEmpty());
  EXPECT_TRUE(serves(cache));
}

TEST_F(SqliteProcesses, ADeletedFileIsFoundAgainByAllProcesses) {
  Pipe to_child;
  Pipe to_parent;
  const pid_t child = start_child([&] {
    to_child.close_writing();
    to_parent.close_reading();
    const auto session = make()->connect();
    session->put("child", "old", forever, PutMode::always);
    if (!to_parent.write(1) || !to_child.read()) return false;  // the file is deleted
    clock_.advance(1s);
    if (!check(get(*session, "parent") == "new", "sees the new file")) return false;
    session->put("child", "new", forever, PutMode::always);
    return to_parent.write(1) && !to_child.read();
  });
  to_child.close_reading();
  to_parent.close_writing();
  ASSERT_TRUE(to_parent.read());
  const auto session = make()->connect();
  EXPECT_EQ(get(*session, "child"), "old");
  fs::remove(path());
  clock_.advance(1s);
  EXPECT_EQ(get(*session, "child"), std::nullopt);
  session->put("parent", "new", forever, PutMode::always);
  ASSERT_TRUE(to_child.write(1));
  ASSERT_TRUE(to_parent.read());
  EXPECT_EQ(get(*session, "child"), "new");
  EXPECT_EQ(get(*session, "parent"), "new");
  EXPECT_EQ(check_integrity(), "ok");
  to_child.close_writing();
  EXPECT_EQ(wait_for(child), 0);
}

TEST_F(SqliteProcesses, AReplacedFileIsNotReadThroughTheOldOnesLog) {
  const auto other_file = make_factory(sqlite::plugin, context_, {{folder_.file("other.db")}, {}});
  other_file->connect()->put("k", "new", forever, PutMode::always);
  const auto registry = make_registry();
  Cache& cache = (*registry)["c"];
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(cache.set("k" + std::to_string(i), std::string(500, 'v')));
  }
  fs::rename(folder_.file("other.db"), path());
  ASSERT_TRUE(fs::exists(path("-wal")));
  clock_.advance(1s);
  EXPECT_EQ(cache.get("k7"), std::nullopt);
  EXPECT_TRUE(serves(cache));
  EXPECT_EQ(check_integrity(), "ok");
  EXPECT_EQ(get(*make()->connect(), "k"), "new");
  EXPECT_THAT(moved_aside(), IsEmpty());
}

// --- symbolic links ---

// The file lies in "disk", and is reached over links in "etc".
class SqliteLinks : public SqliteFixture {
 protected:
  SqliteLinks() {
    for (const char* const name : {"disk", "disk/sub", "etc"}) fs::create_directory(at(name));
  }

  std::string at(const std::string& name) const { return folder_.file(name); }
  std::set<std::string> names_in(const std::string& folder) const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(at(folder))) {
      names.insert(entry.path().filename());
    }
    return names;
  }
  std::unique_ptr<BackendFactory> make_at(const std::string& location) {
    return make_factory(sqlite::plugin, context_, {{location}, {}});
  }
  static void put(BackendFactory& factory, std::string_view key, std::string_view value) {
    factory.connect()->put(key, value, forever, PutMode::always);
  }
  static std::optional<std::string> get_in_another_thread(BackendFactory& factory,
                                                          const std::string& key) {
    std::optional<std::string> value;
    std::thread([&] { value = get(*factory.connect(), key); }).join();
    return value;
  }
  // Serves several sessions and threads, keeps all files next to the real one, and serves after a
  // restart.
  void expect_served(const std::string& location) {
    const auto factory = make_at(location);
    const auto session = factory->connect();
    session->put("k", "v", forever, PutMode::always);
    EXPECT_EQ(get_in_another_thread(*factory, "k"), "v");
    EXPECT_EQ(names_in("disk"), (std::set<std::string>{"c.db", "c.db-shm", "c.db-wal", "sub"}));
    clock_.advance(1s);  // the file is looked at
    EXPECT_EQ(get(*session, "k"), "v");
    const auto restarted = make_at(location);
    EXPECT_EQ(get(*restarted->connect(), "k"), "v");
    EXPECT_THAT(context_.warnings(), IsEmpty());
  }
};

TEST_F(SqliteLinks, AFileOverALinkIsFoundByAllThreadsAndAfterARestart) {
  put(*make_at(at("disk/c.db")), "k", "old");
  fs::create_symlink(at("disk/c.db"), at("etc/c.db"));
  expect_served(at("etc/c.db"));
  EXPECT_EQ(names_in("etc"), std::set<std::string>{"c.db"});
}

TEST_F(SqliteLinks, ALinkWithoutAFileMakesTheFileThatItLeadsTo) {
  fs::create_symlink("second.db", at("etc/c.db"));
  fs::create_symlink("../disk/c.db", at("etc/second.db"));
  expect_served(at("etc/c.db"));
  EXPECT_EQ(names_in("etc"), (std::set<std::string>{"c.db", "second.db"}));
}

TEST_F(SqliteLinks, ParentFoldersOfALinkAreThoseOfItsTarget) {
  fs::create_directory_symlink(at("disk/sub"), at("etc/sub"));
  expect_served(at("etc/sub/../c.db"));
  EXPECT_EQ(names_in("etc"), std::set<std::string>{"sub"});
}

TEST_F(SqliteLinks, ARelativeLocationOverALinkStaysTheSameFile) {
  fs::create_symlink("../disk/c.db", at("etc/c.db"));
  const fs::path before = fs::current_path();
  fs::current_path(at("etc"));
  const auto factory = make_at("c.db");
  fs::current_path(before);
  put(*factory, "k", "v");
  EXPECT_EQ(get(*make_at(at("disk/c.db"))->connect(), "k"), "v");
}

TEST_F(SqliteLinks, TwoNamesOfAFileAreOneStore) {
  fs::create_symlink(at("disk/c.db"), at("etc/c.db"));
  const auto over_link = make_at(at("etc/c.db"));
  const auto direct = make_at(at("disk/sub/../c.db"));
  const auto session = over_link->connect();
  session->put("n", "0", forever, PutMode::always);
  std::thread other([&] {
    const auto its = direct->connect();
    for (int i = 0; i < 200; ++i) its->incr("n", 1);
  });
  for (int i = 0; i < 200; ++i) session->incr("n", 1);
  other.join();
  EXPECT_EQ(get(*direct->connect(), "n"), "400");
}

TEST_F(SqliteLinks, ADamagedFileOverALinkIsMovedInItsOwnFolder) {
  put(*make_at(at("disk/c.db")), "k", large_value);
  fs::create_symlink(at("disk/c.db"), at("etc/c.db"));
  std::string bytes = read_file(at("disk/c.db"));
  std::fill(bytes.begin() + 4096, bytes.end(), '\x5a');
  write_file(at("disk/c.db"), bytes);
  const auto factory = make_at(at("etc/c.db"));
  put(*factory, "k", "new");
  EXPECT_EQ(get(*factory->connect(), "k"), "new");
  EXPECT_EQ(names_in("etc"), std::set<std::string>{"c.db"});
  EXPECT_TRUE(fs::is_symlink(at("etc/c.db")));
  EXPECT_THAT(context_.warnings(), ElementsAre(HasSubstr("moved to \"" + at("disk/c.db"))));
}

TEST_F(SqliteLinks, ALinkThatChangesIsFollowedByTheNextConfiguration) {
  fs::create_symlink(at("disk/c.db"), at("etc/c.db"));
  const auto factory = make_at(at("etc/c.db"));
  put(*factory, "k", "first");
  fs::remove(at("etc/c.db"));
  fs::create_symlink(at("disk/other.db"), at("etc/c.db"));
  clock_.advance(1s);
  EXPECT_EQ(get(*factory->connect(), "k"), "first");
  const auto next = make_at(at("etc/c.db"));
  EXPECT_EQ(get(*next->connect(), "k"), std::nullopt);
  put(*next, "k", "second");
  EXPECT_EQ(get(*make_at(at("disk/other.db"))->connect(), "k"), "second");
  EXPECT_EQ(get(*factory->connect(), "k"), "first");
}

TEST_F(SqliteLinks, AFileThatBecomesALinkIsRefusedUntilTheNextConfiguration) {
  const auto factory = make_at(at("etc/c.db"));
  put(*factory, "k", "v");
  fs::rename(at("etc/c.db"), at("disk/c.db"));
  fs::create_symlink(at("disk/c.db"), at("etc/c.db"));
  clock_.advance(1s);
  try {
    get(*factory->connect(), "k");
    ADD_FAILURE() << "opened a file over a link that was not there at the start";
  } catch (const BackendError& error) {
    EXPECT_THAT(error.what(), HasSubstr("became a symbolic link"));
  }
  EXPECT_EQ(get(*make_at(at("etc/c.db"))->connect(), "k"), "v");
}

TEST_F(SqliteLinks, ALinkThatLeadsNowhereIsAConfigError) {
  const auto problem = [&](const std::string& target) {
    fs::remove(at("etc/c.db"));
    fs::create_symlink(target, at("etc/c.db"));
    try {
      make_at(at("etc/c.db"));
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(problem("c.db"), HasSubstr("leads to itself"));
  EXPECT_THAT(problem("../none/c.db"), HasSubstr("does not exist"));
  EXPECT_THAT(problem("../none/c.db"), HasSubstr(at("etc/c.db") + "\" is a symbolic link to"));
  EXPECT_THAT(problem("../disk/sub"), HasSubstr("is a folder"));
}

// --- damaged ---

TEST_F(SqliteProcesses, ADamagedFileOfOursIsMovedAsideAndTheCacheGoesOn) {
  ASSERT_TRUE((*make_registry())["c"].set("k", large_value));
  damage();
  const auto registry = make_registry();
  Cache& cache = (*registry)["c"];
  EXPECT_FALSE(cache.get("k"));
  EXPECT_TRUE(cache.set("k", "new"));
  EXPECT_EQ(cache.get("k"), "new");
  ASSERT_THAT(moved_aside(), SizeIs(1));
  ASSERT_THAT(warned(), SizeIs(1));
  EXPECT_TRUE(was_warned(Warning::Kind::other, moved_aside().front()));
}

TEST_F(SqliteProcesses, ADamagedFileStaysInPlaceIfConfigured) {
  ASSERT_TRUE((*make_registry())["c"].set("k", large_value));
  damage();
  const std::string damaged = read_file(path());
  const auto registry = make_registry({{"on_corrupt", "throw"}});
  Cache& cache = (*registry)["c"];
  EXPECT_FALSE(cache.get("k"));
  EXPECT_FALSE(cache.set("k", "new"));
  EXPECT_THROW(cache.erase("k"), BackendError);
  EXPECT_TRUE(was_warned(Warning::Kind::degraded, "malformed"));
  EXPECT_TRUE(read_file(path()) == damaged);
  for (const char* const tail : {"", "-wal", "-shm"})
    fs::remove(path(tail));  // another program repairs it
  EXPECT_TRUE(serves(cache));
}

// --- newer, read-only ---

TEST_F(SqliteProcesses, AFileThatANewerLibraryUpgradesIsNotChanged) {
  const auto registry = make_registry();
  Cache& cache = (*registry)["c"];
  ASSERT_TRUE(cache.set("k", "v"));
  Database(path()).execute("PRAGMA user_version=3");
  clock_.advance(1s);
  EXPECT_EQ(cache.get("k"), std::nullopt);
  EXPECT_FALSE(cache.set("k", "w"));
  EXPECT_THROW(cache.clear(), BackendError);
  EXPECT_EQ(Database(path()).text("SELECT value FROM cache"), "v");
  EXPECT_EQ(Database(path()).text("PRAGMA user_version"), "3");
  EXPECT_THROW(make_registry(), ConfigError);
  Database(path()).execute("PRAGMA user_version=1");
  EXPECT_TRUE(serves(cache));
  EXPECT_EQ(cache.get("k"), "v");
}

class SqliteReadOnly : public SqliteFixture {
 protected:
  // Permissions mean nothing to root: then another user owns the folder and runs `body`.
  template <class Body>
  void run_as_user(Body body) {
    constexpr uid_t other_user = 65533;
    if (::geteuid() == 0) {
      ASSERT_EQ(::chown(folder_.path().c_str(), other_user, other_user), 0);
      for (const std::string& name : folder_.names()) {
        ASSERT_EQ(::chown(folder_.file(name).c_str(), other_user, other_user), 0);
      }
    }
    const pid_t child = start_child([&] {
      if (::geteuid() == 0 && ::setuid(other_user) != 0) return false;
      return body();
    });
    EXPECT_EQ(wait_for(child), 0);
  }

  // The files next to it are made with the permissions of the file.
  void allow(fs::perms folder, fs::perms file) {
    fs::permissions(folder_.path(), fs::perms::owner_all);
    for (const std::string& name : folder_.names()) fs::permissions(folder_.file(name), file);
    fs::permissions(folder_.path(), folder);
  }

  static constexpr fs::perms readable = fs::perms::owner_read;
  static constexpr fs::perms writable = fs::perms::owner_read | fs::perms::owner_write;
  static constexpr fs::perms readable_folder = fs::perms::owner_read | fs::perms::owner_exec;
  static constexpr fs::perms writable_folder = fs::perms::owner_all;
};

TEST_F(SqliteReadOnly, AFileThatCannotBeWrittenIsRead) {
  ASSERT_TRUE((*make_registry())["c"].set("k", "v"));
  run_as_user([&] {
    allow(writable_folder, readable);
    const auto registry = make_registry();
    Cache& cache = (*registry)["c"];
    const bool refused = check(cache.get("k") == "v", "reads") &&
                         check(!cache.set("k", "w"), "refuses to write") &&
                         check(was_warned(Warning::Kind::degraded, "readonly"), "says why") &&
                         check(cache.get("k") == "v", "still reads");
    allow(writable_folder, writable);
    return refused && check(serves(cache), "serves");
  });
}

// Checksums need a column that this file does not have yet.
TEST_F(SqliteReadOnly, AFileThatCannotBeWrittenIsReadWithoutChecksums) {
  ASSERT_TRUE((*make_registry())["c"].set("k", "v"));
  run_as_user([&] {
    allow(writable_folder, readable);
    const auto registry = make_registry({{"checksum", true}});
    Cache& cache = (*registry)["c"];
    const bool refused =
        check(cache.get("k") == "v", "reads") && check(!cache.set("k", "w"), "refuses to write");
    allow(writable_folder, writable);
    return refused && check(serves(cache), "serves");
  });
}

TEST_F(SqliteReadOnly, AFolderThatCannotBeWrittenIsAnErrorThatSaysSo) {
  ASSERT_TRUE((*make_registry())["c"].set("k", "v"));
  run_as_user([&] {
    allow(readable_folder, readable);
    const auto registry = make_registry();
    Cache& cache = (*registry)["c"];
    bool typed = false;
    try {
      cache.erase("k");
    } catch (const BackendError& error) {
      const bool kind = error.kind() == BackendError::Kind::denied ||
                        error.kind() == BackendError::Kind::read_only;
      typed = check(kind, error.what());
    }
    const bool refused = check(!cache.set("k", "w"), "refuses to write") &&
                         check(was_warned(Warning::Kind::degraded, "folder"), "says why");
    allow(writable_folder, writable);
    return typed && refused && check(serves(cache), "serves") &&
           check(cache.get("k") == "v", "has what it had");
  });
}

TEST_F(SqliteReadOnly, AFileThatCannotBeMadeIsAnErrorThatSaysSo) {
  run_as_user([&] {
    const auto registry = make_registry();  // while the folder can be written to
    allow(readable_folder, readable);
    Cache& cache = (*registry)["c"];
    const bool refused = check(cache.get("k") == std::nullopt, "misses") &&
                         check(!cache.set("k", "v"), "refuses to write") &&
                         check(was_warned(Warning::Kind::degraded, "folder"), "says why");
    allow(writable_folder, writable);
    return refused && check(serves(cache), "serves");
  });
}

// --- the length of the log ---

// Copied back at a hundred pages.
class SqliteLog : public SqliteFixture {
 protected:
  static constexpr std::uintmax_t checkpoint_pages = 100;
  static constexpr std::uintmax_t checkpoint_bytes = checkpoint_pages * 4096;

  std::uintmax_t log_bytes() const {
    std::error_code none;
    const std::uintmax_t bytes = fs::file_size(path("-wal"), none);
    return none ? 0 : bytes;
  }

  // Writes that many bytes, and returns how long the log was at most.
  std::uintmax_t write(std::uintmax_t bytes, std::size_t value_bytes = 8000) {
    const std::string value(value_bytes, 'v');
    std::uintmax_t most = 0;
    for (; written_ < bytes; written_ += value_bytes) {
      EXPECT_TRUE(cache_.set("k" + std::to_string(next_++ % 100), value));
      most = std::max(most, log_bytes());
    }
    written_ = 0;
    return most;
  }

  // Whether the log is emptied that many times while at most so many bytes are written.
  bool is_emptied(int times, std::uintmax_t bytes) {
    std::uintmax_t before = log_bytes();
    for (std::uintmax_t written = 0; times > 0 && written < bytes;
         written += checkpoint_bytes / 8) {
      write(checkpoint_bytes / 8);
      if (log_bytes() < before) --times;
      before = log_bytes();
    }
    return times == 0;
  }

  const SqliteFaultVfs without_waiting_for_the_disk_;
  const std::unique_ptr<ClosingRegistry> registry_ =
      make_registry({{"wal_autocheckpoint", std::int64_t{checkpoint_pages}},
                     {"busy_timeout", std::string("20s")}});
  Cache& cache_ = (*registry_)["c"];

 private:
  std::uintmax_t written_ = 0;
  int next_ = 0;
};

// In threads of this process and in another one; none reads for long, but at any moment one does.
TEST_F(SqliteLog, IsEmptiedAgainAndAgainAlthoughReadersOverlapWithoutEnd) {
  ASSERT_TRUE(cache_.set("k1", "v"));
  std::atomic<bool> ending{false};
  std::vector<std::thread> threads;
  const auto read = [&] {  // by two connections, of which one begins before the other ends
    Database first(path());
    Database second(path());
    const auto begin = [](Database& database) {
      database.execute("BEGIN");
      database.text("SELECT id FROM cache LIMIT 1");
    };
    begin(first);
    while (!ending) {
      begin(second);
      first.execute("COMMIT");
      begin(first);
      second.execute("COMMIT");
    }
    first.execute("COMMIT");
  };
  Pipe end;
  const pid_t child = start_child([&] {
    end.close_writing();
    threads.emplace_back(read);
    end.read();
    ending = true;
    for (std::thread& thread : threads) thread.join();
    return true;
  });
  for (int i = 0; i < 2; ++i) threads.emplace_back(read);
  // SQLite alone would never empty it. How long it is each time depends on the machine: a reader
  // that waits for a processor keeps its transaction meanwhile.
  EXPECT_TRUE(is_emptied(5, 2000 * checkpoint_bytes));
  ending = true;
  for (std::thread& thread : threads) thread.join();
  end.close_writing();
  EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(check_integrity(), "ok");
}

TEST_F(SqliteLog, ALongReaderCausesOneWarningAndTheLogShrinksWhenItEnds) {
  ASSERT_TRUE(cache_.set("k1", "v"));
  Database reader(path());
  reader.execute("BEGIN");
  reader.text("SELECT count(*) FROM cache");
  EXPECT_GT(write(20 * checkpoint_bytes), 16 * checkpoint_bytes);
  ASSERT_THAT(warned(), SizeIs(1));
  EXPECT_TRUE(was_warned(Warning::Kind::degraded, path()));
  EXPECT_TRUE(was_warned(Warning::Kind::degraded, "kept a read transaction open"));
  EXPECT_EQ(cache_.get("k1"), std::string(8000, 'v'));
  reader.execute("COMMIT");
  write(checkpoint_bytes);
  EXPECT_LE(log_bytes(), 3 * checkpoint_bytes);
  EXPECT_THAT(warned(), SizeIs(1));
}

TEST_F(SqliteLog, ShrinksAfterALargeValue) {
  EXPECT_LE(write(1, 40 * checkpoint_bytes), 3 * checkpoint_bytes);
  EXPECT_LE(write(3 * checkpoint_bytes), 3 * checkpoint_bytes);
  EXPECT_THAT(warned(), IsEmpty());
}

// While it was long a reader kept it; then it begins anew without being emptied.
TEST_F(SqliteLog, ShrinksWhenItBeginsAnew) {
  ASSERT_TRUE(cache_.set("k1", "v"));
  {
    Database other(path());
    other.execute("PRAGMA wal_autocheckpoint=0");
    other.execute("CREATE TABLE other(v)");
    other.execute("INSERT INTO other VALUES(zeroblob(" + std::to_string(20 * checkpoint_bytes) +
                  "))");
    EXPECT_GT(log_bytes(), 20 * checkpoint_bytes);
    other.execute("PRAGMA wal_checkpoint(PASSIVE)");
    EXPECT_GT(log_bytes(), 20 * checkpoint_bytes);
    ASSERT_TRUE(cache_.set("k1", "v"));
    EXPECT_LE(log_bytes(), 3 * checkpoint_bytes);
  }
}

// --- limits ---

TEST_F(SqliteProcesses, ALimitOnTheSizeOfFilesRefusesWritesOnly) {
  const pid_t child = start_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const auto registry = make_registry();
    Cache& cache = (*registry)["c"];
    if (!check(cache.set("k", "v"), "writes")) return false;
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const rlim_t before = std::exchange(limit.rlim_cur, 300'000);
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
    int stored = 0;
    for (int i = 0; i < 100; ++i) {
      clock_.advance(100ms);
      stored += cache.set("k" + std::to_string(i), std::string(10'000, 'v')) ? 1 : 0;
      if (!check(cache.get("k") == "v", "reads")) return false;
    }
    limit.rlim_cur = before;
    return check(stored > 10 && stored < 100, "writes while there is room") &&
           ::setrlimit(RLIMIT_FSIZE, &limit) == 0 && check(serves(cache), "serves") &&
           check(cache.get("k0") == std::string(10'000, 'v'), "has what it had");
  });
  EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(check_integrity(), "ok");
}

TEST_F(SqliteProcesses, AValueThatIsTooLargeIsRefusedAndTheOldOneIsGone) {
  using Policy = ErrorPolicy;
  for (const OnError policy :
       {OnError{Policy::miss, Policy::miss}, OnError{Policy::throw_error, Policy::throw_error}}) {
    const auto registry = make_registry({{"max_value_bytes", std::int64_t{1000}}}, policy);
    Cache& cache = (*registry)["c"];
    const std::string large(1001, 'x');
    ASSERT_TRUE(cache.set("k", std::string(1000, 'x')));
    EXPECT_FALSE(cache.add("k", large));
    EXPECT_EQ(cache.get("k"), std::string(1000, 'x'));
    EXPECT_FALSE(cache.set("k", large));
    EXPECT_EQ(cache.get("k"), std::nullopt);
    EXPECT_TRUE(was_warned(Warning::Kind::value_refused, "max_value_bytes"));
    EXPECT_EQ(cache.get_or_set("k", [&] { return large; }), large);
    EXPECT_EQ(cache.get("k"), std::nullopt);
    EXPECT_TRUE(serves(cache));
  }
}

// --- clocks ---

class SqliteClocks : public SqliteFixture {
 protected:
  void set_clock(std::chrono::seconds by) { clock_.set_wall_clock(clock_.system_now() + by); }

  const std::unique_ptr<ClosingRegistry> registry_ = make_registry();
  Cache& cache_ = (*registry_)["c"];
};

TEST_F(SqliteClocks, SetBackLetsNothingOutliveItsTime) {
  ASSERT_TRUE(cache_.set("short", "v", 10s));
  ASSERT_TRUE(cache_.set("touched", "v", 10s));
  ASSERT_TRUE(cache_.set("forever", "v"));
  clock_.advance(2h);
  ASSERT_TRUE(cache_.set("short", "v", 10s));
  ASSERT_TRUE(cache_.set("touched", "v", 24h));
  clock_.advance(2h);
  ASSERT_TRUE(cache_.touch("touched", 10s));
  ASSERT_TRUE(cache_.set("short", "v", 10s));
  set_clock(-1h);
  for (const char* const key : {"short", "touched"}) {
    EXPECT_EQ(cache_.get(key), std::nullopt) << key;
    EXPECT_FALSE(cache_.contains(key)) << key;
    EXPECT_FALSE(cache_.touch(key, 10s)) << key;
    EXPECT_FALSE(cache_.erase(key)) << key;
    EXPECT_EQ(cache_.pop(key), std::nullopt) << key;
    EXPECT_THROW(cache_.incr(key), KeyNotFound) << key;
  }
  EXPECT_EQ(cache_.get("forever"), "v");
  EXPECT_TRUE(cache_.add("short", "new", 10s));
  EXPECT_TRUE(cache_.set("touched", "new", 10s));
  clock_.advance(9'999ms);
  EXPECT_EQ(cache_.get("short"), "new");
  EXPECT_EQ(cache_.get("touched"), "new");
  clock_.advance(1ms);
  EXPECT_EQ(cache_.get("short"), std::nullopt);
  EXPECT_EQ(cache_.get("touched"), std::nullopt);
  EXPECT_EQ(cache_.get("forever"), "v");
  EXPECT_TRUE(serves(cache_));
}

TEST_F(SqliteClocks, SetBackALittleLosesNothing) {
  ASSERT_TRUE(cache_.set("k", "v", 10s));
  set_clock(-4s);
  EXPECT_EQ(cache_.get("k"), "v");
  clock_.advance(14s);  // later than it should be, but not for long
  EXPECT_EQ(cache_.get("k"), std::nullopt);
}

TEST_F(SqliteClocks, SetBackMakesRoomForNewEntriesFirst) {
  const auto factory = make({{"max_entries", std::int64_t{16}}, {"table", "small"}});
  const auto session = factory->connect();
  for (int i = 0; i < 16; ++i) {
    session->put("old" + std::to_string(i), "v", forever, PutMode::always);
  }
  set_clock(-1h);
  for (int i = 0; i < 16; ++i) {
    const std::string key = "new" + std::to_string(i);
    session->put(key, "v", forever, PutMode::always);
    EXPECT_EQ(get(*session, key), "v");
  }
  for (int i = 0; i < 16; ++i) EXPECT_EQ(get(*session, "new" + std::to_string(i)), "v") << i;
}

TEST_F(SqliteClocks, SetForwardExpiresEarly) {
  ASSERT_TRUE(cache_.set("short", "v", 10s));
  ASSERT_TRUE(cache_.set("forever", "v"));
  set_clock(1h);
  EXPECT_EQ(cache_.get("short"), std::nullopt);
  EXPECT_EQ(cache_.get("forever"), "v");
  EXPECT_TRUE(cache_.set("short", "new", 10s));
  EXPECT_EQ(cache_.get("short"), "new");
}

TEST_F(SqliteClocks, SetEitherWayMeansNothingToAStoreInMemory) {
  const auto factory = make_factory(sqlite::plugin, context_, {{":memory:"}, {}});
  const auto session = factory->connect();
  for (const auto by : {-1h, 1h}) {
    session->put("k", "v", Ttl(10s), PutMode::always);
    set_clock(by);
    clock_.advance(9'999ms);
    EXPECT_EQ(get(*session, "k"), "v");
    clock_.advance(1ms);
    EXPECT_EQ(get(*session, "k"), std::nullopt);
  }
}

// --- threads and forks ---

TEST_F(SqliteProcesses, AThreadThatEndsClosesItsConnection) {
  const auto registry = make_registry();
  const auto open_files = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const auto before = open_files();
  for (int i = 0; i < 20; ++i) {
    std::thread([&] { EXPECT_TRUE((*registry)["c"].set("k", "v")); }).join();
    EXPECT_FALSE(fs::exists(path("-wal")));  // which the last one to close removes
  }
  EXPECT_EQ(open_files(), before);
  EXPECT_EQ((*registry)["c"].get("k"), "v");
}

TEST_F(SqliteProcesses, AForkedChildAndItsParentUseTheSameRegistry) {
  const auto registry = make_registry({{"busy_timeout", "20s"}});
  Cache& cache = (*registry)["c"];
  ASSERT_TRUE(cache.set("n", 0));
  const pid_t child = start_child([&] {
    for (int i = 0; i < 50; ++i) (*registry)["c"].incr("n");
    return check((*registry)["c"].set("child", "v"), "writes");
  });
  for (int i = 0; i < 50; ++i) cache.incr("n");
  EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(cache.get<int>("n"), 100);
  EXPECT_EQ(cache.get("child"), "v");
  EXPECT_TRUE(serves(cache));
}

// A process whose threads are busy with SQLite forks, and its children use SQLite: what another
// thread was in the middle of must not be in their way.
class SqliteForks : public SqliteFixture {
 protected:
  static constexpr int child_count = 60;
  static constexpr unsigned patience = 100;  // seconds; a child that hangs ends by a signal

  SqliteForks() {
    Config config;
    const auto alias = [&](const std::string& name, const std::string& location) {
      config.caches[name] = {.backend = "sqlite", .location = {location}, .timeout = never};
      config.caches[name].options["busy_timeout"] = "20s";
    };
    alias("same", path());
    alias("another", folder_.file("another.db"));
    alias("unused", folder_.file("unused.db"));
    alias("memory", ":memory:");
    Environment environment;
    environment.linked_plugins = {&sqlite::plugin};
    registry_ = std::make_unique<ClosingRegistry>(std::move(config), std::move(environment));
  }
  ~SqliteForks() override { stop(); }

  // Reads and writes in all ways, of which some last.
  void use(const std::string& alias) {
    Cache& cache = (*registry_)[alias];
    std::map<std::string, std::string> many;
    for (int i = 0; i < 40; ++i) many["k" + std::to_string(i)] = std::string(3000, 'v');
    while (!stopping_) {
      cache.set_many(many);
      cache.get("k1");
      cache.get_many({"k1", "k2", "k3"});
      cache.set("n", 0);
      cache.incr("n");
      cache.erase("k2");
      cache.contains("k3");
      (*registry_).open(alias)->get("k4");  // opens a connection and closes it
    }
  }
  void start(int threads) {
    for (const char* const alias : {"same", "another", "memory"}) {
      for (int i = 0; testing::allocator_survives_forks && i < threads; ++i) {
        threads_.emplace_back([this, alias] { use(alias); });
      }
    }
  }
  void stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // In a child.
  bool can_use_all() {
    for (const char* const alias : {"same", "another", "unused", "memory"}) {
      Cache& cache = (*registry_)[alias];
      const bool right = check(cache.set("child", "v"), alias) &&
                         check(cache.get("child") == "v", alias) &&
                         check(cache.erase("child"), alias);
      if (!right) return false;
    }
    return true;
  }

  pid_t fork_a_user() {
    return start_child([this] {
      ::alarm(patience);
      return can_use_all();
    });
  }
  int failures_of_children() {
    int failures = 0;
    for (int i = 0; i < child_count; ++i) failures += wait_for(fork_a_user()) == 0 ? 0 : 1;
    return failures;
  }

  const SqliteFaultVfs without_waiting_for_the_disk_;
  std::unique_ptr<ClosingRegistry> registry_;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

TEST_F(SqliteForks, ChildrenOfAProcessWithBusyThreadsDoNotHang) {
  start(2);
  EXPECT_EQ(failures_of_children(), 0);
  stop();
  EXPECT_EQ(check_integrity(), "ok");
  EXPECT_TRUE((*registry_)["same"].set("k", "v"));
}

TEST_F(SqliteForks, ChildrenOfAProcessWithOneBusyThreadDoNotHang) {
  if (testing::allocator_survives_forks) threads_.emplace_back([this] { use("same"); });
  EXPECT_EQ(failures_of_children(), 0);
  stop();
  EXPECT_EQ(check_integrity(), "ok");
}

TEST_F(SqliteForks, ChildrenForkChildrenOfTheirOwn) {
  start(1);
  const pid_t child = start_child([this] {
    ::alarm(patience);
    return wait_for(fork_a_user()) == 0 && can_use_all() && wait_for(fork_a_user()) == 0;
  });
  EXPECT_EQ(wait_for(child), 0);
}

TEST_F(SqliteForks, SeveralThreadsOfAChildBeginTogether) {
  ASSERT_TRUE((*registry_)["same"].set("k", "v"));  // a connection for the children to inherit
  start(testing::children_of_threads_start_threads ? 1 : 0);
  for (int i = 0; i < 10; ++i) {
    const pid_t child = start_child([this] {
      ::alarm(patience);
      std::atomic<int> right{0};
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
          Cache& cache = (*registry_)["same"];
          right += cache.set("child", "v") && cache.get("child") == "v" ? 1 : 0;
        });
      }
      for (std::thread& thread : threads) thread.join();
      return right == 4;
    });
    EXPECT_EQ(wait_for(child), 0);
  }
}

// A thread that ends writes the log back, and its process may end before the child.
TEST_F(SqliteForks, AChildOutlivesThreadsThatHadTheFileOpen) {
  start(1);
  Pipe ended;
  const pid_t child = start_child([&] {
    ::alarm(patience);
    ended.close_writing();
    return !ended.read() && can_use_all();
  });
  stop();
  registry_->close_all();
  ended.close_writing();
  EXPECT_EQ(wait_for(child), 0);
}

// The plugin "db" is a copy of the same store. If a child kept what one copy had open, SQLite would
// take its locks for the child's own: the parent, believing that it is the last to close the file,
// would remove the log that the child writes to.
TEST_F(SqliteForks, AChildOfTwoCopiesOfTheStoreLosesNoWrite) {
  Config config;
  config.caches["linked"] = {.backend = "sqlite", .location = {path()}, .timeout = never};
  config.caches["loaded"] = {.backend = "db", .location = {path()}, .timeout = never};
  Environment environment;
  environment.linked_plugins = {&sqlite::plugin};
  ClosingRegistry registry(std::move(config), std::move(environment));
  for (const char* const alias : {"linked", "loaded"}) ASSERT_TRUE(registry[alias].set(alias, "v"));
  Pipe written;
  Pipe closed;
  const pid_t child = start_child([&] {
    ::alarm(patience);
    closed.close_writing();
    const bool first = check(registry["linked"].set("first", "v"), "writes");
    written.close_writing();
    closed.read();
    return first && check(registry["linked"].set("second", "v"), "writes again");
  });
  written.close_writing();
  written.read();
  registry.close_all();
  closed.close_writing();
  EXPECT_EQ(wait_for(child), 0);
  for (const char* const key : {"linked", "loaded", "first", "second"}) {
    EXPECT_EQ((*registry_)["same"].get(key), "v") << key;
  }
}

// While it waits for a lock of another process, a thread is where a fork waits for it.
TEST_F(SqliteForks, AForkDoesNotWaitForAThreadThatWaitsForALock) {
  ASSERT_TRUE((*registry_)["same"].set("n", 0));
  Holder holder(path(), "BEGIN IMMEDIATE");
  std::atomic<bool> begun{false};
  std::atomic<bool> ended{false};
  threads_.emplace_back([&] {
    begun = true;
    (*registry_)["same"].incr("n");
    ended = true;
  });
  while (!begun) std::this_thread::yield();
  std::this_thread::sleep_for(20ms);  // so that it is waiting, most of the time
  for (int i = 0; i < 5; ++i) {
    const pid_t child = start_child([this] {
      ::alarm(patience);
      return check((*registry_)["unused"].set("k", "v"), "writes") &&
             check((*registry_)["same"].get<int>("n") == 0, "reads");
    });
    EXPECT_EQ(wait_for(child), 0);
    EXPECT_FALSE(ended);
  }
  holder.release();
  stop();
  EXPECT_EQ((*registry_)["same"].get<int>("n"), 1);
}

TEST_F(SqliteForks, AComputationMayFork) {
  start(1);
  for (int i = 0; i < 10; ++i) {
    const std::string key = "computed" + std::to_string(i);
    (*registry_)["same"].get_or_set(key, [this] {
      EXPECT_EQ(wait_for(fork_a_user()), 0);
      return std::string("v");
    });
    EXPECT_EQ((*registry_)["same"].get(key), "v");
  }
}

// As a decoder may: the child uses the store, and goes on with what it was reading.
TEST_F(SqliteForks, ASinkMayFork) {
  const auto factory = make({{"busy_timeout", "20s"}});
  const auto session = factory->connect();
  const std::string large(300'000, 'l');
  session->put("small", "s", forever, PutMode::always);
  session->put("large", large, forever, PutMode::always);
  start(1);
  const auto test_of = [&](auto read) {
    pid_t child = -1;
    const bool right = read([&] {
      if (child >= 0) return;
      child = ::fork();
      if (child == 0) ::alarm(patience);
      if (child == 0 && !can_use_all()) ::_exit(2);
    });
    if (child == 0) ::_exit(right ? 0 : 1);
    EXPECT_TRUE(right);
    EXPECT_EQ(wait_for(child), 0);
  };
  for (const std::string key : {"small", "large"}) {
    const std::string expected = key == "small" ? "s" : large;
    test_of([&](auto fork_once) {
      std::string found;
      session->get(key, [&](std::string_view value) {
        fork_once();
        found = value;
      });
      return found == expected;
    });
  }
  test_of([&](auto fork_once) {
    const std::array<std::string_view, 4> keys{"small", "large", "none", "small"};
    std::map<std::size_t, std::string> found;
    session->get_many(keys, [&](std::size_t i, std::string_view value) {
      fork_once();
      found[i] = value;
    });
    return found == std::map<std::size_t, std::string>{{0, "s"}, {1, large}, {3, "s"}};
  });
}

}  // namespace
}  // namespace polycache::testing
