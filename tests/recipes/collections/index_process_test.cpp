// Indexes under processes that are killed at random moments: nothing is lost, nothing is given
// twice, a key is inserted once, and loops see keys in order.
//
// Each thread writes what it does to a log, and a model checks the log. 6 processes of 3 threads,
// on locmem 18 threads. POLYCACHE_INDEX_TURNS is how many operations there are, POLYCACHE_SEED
// chooses the same kills again, as far as the machine runs the threads alike.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "polycache/index.h"
#include "polycache/polycache.h"
#include "support/process_stores.h"

#ifdef __SANITIZE_THREAD__
// Children start threads here, at which ThreadSanitizer would end them if a test before this one
// has had threads.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() {
  return "die_after_fork=0";
}
#endif

namespace polycache::testing {
namespace {

constexpr int process_count = 6;
constexpr int threads_of_process = 3;

std::int64_t number_from_environment(const char* name, std::int64_t fallback) {
  const char* const text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoll(text, nullptr, 10);
}

// A line of the log: what a thread did to a key of an index.
//   i key   will insert a key of its own     I key   has inserted it
//   p -     will pop an item                 P key   has popped it; 0: there was none
//   w key   will insert a key that others    W key   was the one that inserted it
//           insert, too
struct Line {
  char what = 'i';
  char index = 'k';  // by key, or 'o': by insertion
  std::uint64_t thread = 0;
  std::int64_t key = 0;
};

class Log {
 public:
  explicit Log(const std::string& path)
      : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
    if (file_ < 0) throw std::runtime_error("no log");
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log() { ::close(file_); }

  // In one piece.
  void append(const Line& line) const {
    const std::string bytes = std::string() + line.what + ' ' + line.index + ' ' +
                              std::to_string(line.thread) + ' ' + std::to_string(line.key) + '\n';
    if (::write(file_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) _exit(9);
  }

  static std::vector<Line> read(const std::string& path) {
    std::vector<Line> lines;
    std::ifstream file(path);
    for (Line line; file >> line.what >> line.index >> line.thread >> line.key;) {
      lines.push_back(line);
    }
    return lines;
  }

 private:
  int file_;
};

// What one index must have been through. `left`: what it has at the end.
std::vector<std::string> problems_of(const std::vector<Line>& log, char index,
                                     const std::vector<std::int64_t>& left) {
  std::set<std::int64_t> intended;
  std::set<std::int64_t> inserted;
  std::map<std::int64_t, int> given;         // popped, or left
  std::map<std::uint64_t, bool> is_popping;  // of threads: killed between 'p' and 'P' if true
  std::map<std::int64_t, int> winners;
  for (const Line& line : log) {
    if (line.index != index) continue;
    if (line.what == 'i' || line.what == 'w') intended.insert(line.key);
    if (line.what == 'I') inserted.insert(line.key);
    if (line.what == 'W' && ++winners[line.key] == 1) inserted.insert(line.key);
    if (line.what == 'p') is_popping[line.thread] = true;
    if (line.what != 'P') continue;
    is_popping[line.thread] = false;
    if (line.key != 0) ++given[line.key];
  }
  for (const std::int64_t key : left) ++given[key];
  std::vector<std::string> problems;
  const auto problem = [&](std::int64_t key, const char* what) {
    problems.push_back("the key " + std::to_string(key) + ' ' + what);
  };
  for (const auto& [key, count] : given) {
    if (count > 1) problem(key, "was given twice");
    if (!intended.contains(key)) problem(key, "was never inserted");
  }
  for (const auto& [key, count] : winners) {
    if (count > 1) problem(key, "was inserted by two");
  }
  // A thread that is killed while it pops takes at most one item with it.
  std::size_t may_be_lost = 0;
  for (const auto& [thread, popping] : is_popping) may_be_lost += popping ? 1 : 0;
  for (const std::int64_t key : inserted) {
    if (given.contains(key)) continue;
    if (may_be_lost == 0) {
      problem(key, "is lost");
    } else {
      --may_be_lost;
    }
  }
  return problems;
}

// --- The model itself ---

TEST(IndexModel, FindsWhatIsLostAndWhatIsGivenTwice) {
  const Line begin{'i', 'k', 1, 7};
  const Line end{'I', 'k', 1, 7};
  const Line popping{'p', 'k', 2, 0};
  const Line popped{'P', 'k', 2, 7};
  EXPECT_TRUE(problems_of({begin, end}, 'k', {7}).empty());
  EXPECT_TRUE(problems_of({begin, end, popping, popped}, 'k', {}).empty());
  EXPECT_FALSE(problems_of({begin, end}, 'k', {}).empty()) << "lost";
  EXPECT_TRUE(problems_of({begin}, 'k', {}).empty()) << "killed before it was inserted";
  EXPECT_TRUE(problems_of({begin}, 'k', {7}).empty()) << "killed after it was inserted";
  EXPECT_TRUE(problems_of({begin, end, popping}, 'k', {}).empty()) << "killed with it";
  EXPECT_FALSE(problems_of({begin, end, popping, {'P', 'k', 2, 0}}, 'k', {}).empty());
  EXPECT_FALSE(problems_of({begin, end, popping, popped}, 'k', {7}).empty()) << "twice";
  EXPECT_FALSE(problems_of({}, 'k', {7}).empty()) << "from nowhere";
  EXPECT_TRUE(problems_of({begin, end}, 'o', {}).empty()) << "another index";
  const Line won{'W', 'k', 1, -5};
  EXPECT_TRUE(problems_of({{'w', 'k', 1, -5}, won}, 'k', {-5}).empty());
  EXPECT_FALSE(problems_of({{'w', 'k', 1, -5}, won, won}, 'k', {-5}).empty()) << "two winners";
}

// --- The processes ---

struct Totals {
  std::atomic<std::int64_t> turns{0};
  std::atomic<std::int64_t> contested_keys{0};
  std::atomic<std::int64_t> failures{0};
};

using Items = Index<std::int64_t, std::int64_t>;

// k: by key, o: by insertion, c: by key, for keys that all insert and that none pops.
Items index_of(CacheRegistry& registry, char name) {
  const CollectionOptions options{.registry = &registry};
  if (name == 'o') return Items::by_insertion("by insertion", options);
  return Items(name == 'k' ? "by key" : "contested", options);
}

class Worker {
 public:
  Worker(CacheRegistry& registry, const Log& log, Totals& totals, std::int64_t turns,
         std::uint64_t number)
      : log_(log),
        totals_(totals),
        turns_(turns),
        number_(number),
        by_key_(index_of(registry, 'k')),
        by_insertion_(index_of(registry, 'o')),
        contested_(index_of(registry, 'c')) {}

  void run() {
    while (totals_.turns++ < turns_) {
      switch (random_() % 5) {
        case 0:
          contest();
          break;
        case 1:
        case 2:
          work_on(by_key_, 'k');
          break;
        default:
          work_on(by_insertion_, 'o');
      }
    }
  }

 private:
  void work_on(Items& index, char name) {
    const auto choice = random_() % 16;
    if (choice < 8) {
      // Unique, and spread, so that threads insert between one another's keys.
      const auto key =
          static_cast<std::int64_t>((++turn_ * 100 + random_() % 100) * 1'000'000 + number_);
      log_.append({'i', name, number_, key});
      if (!index.insert(key, -key)) throw std::runtime_error("a new key was there");
      log_.append({'I', name, number_, key});
    } else if (choice < 15) {
      log_.append({'p', name, number_, 0});
      const auto item = index.popitem(random_() % 2 == 0 ? IndexEnd::first : IndexEnd::last);
      if (item && item->second != -item->first) throw std::runtime_error("another's value");
      log_.append({'P', name, number_, item ? item->first : 0});
    } else {
      look_at(index, name);
    }
  }

  // About six threads try each key.
  void contest() {
    const std::int64_t key = 1 + totals_.contested_keys++ / 6;
    log_.append({'w', 'c', number_, key});
    if (contested_.insert(key, -key)) log_.append({'W', 'c', number_, key});
  }

  void look_at(const Items& index, char name) {
    const bool ascends = name == 'k';
    std::int64_t last = 0;
    int seen = 0;
    for (const auto& [key, value] : index.items().page(10)) {
      if (value != -key) throw std::runtime_error("another's value");
      if (ascends && key <= last) throw std::runtime_error("the keys are not in order");
      last = key;
      if (++seen == 50) break;
    }
  }

  const Log& log_;
  Totals& totals_;
  const std::int64_t turns_;
  const std::uint64_t number_;
  Items by_key_;
  Items by_insertion_;
  Items contested_;
  std::uint64_t turn_ = 0;
  std::minstd_rand random_{static_cast<std::uint32_t>(number_) * 7919U + 1U};
};

class IndexProcesses : public ::testing::TestWithParam<ProcessStore> {
 protected:
  Config config() const {
    return {.caches = {{"default",
                        {.backend = GetParam().name,
                         .location = GetParam().location(),
                         .key_prefix = "processes",
                         .options = patient_options(GetParam().name)}}}};
  }

  // The threads of one process.
  void work(CacheRegistry& registry, int threads, std::uint64_t number) {
    const Log log(path_);
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) {
      all.emplace_back([&, i] {
        try {
          Worker(registry, log, *totals_.operator->(), turns_,
                 number * 100 + static_cast<std::uint64_t>(i))
              .run();
        } catch (const std::exception& error) {
          std::cerr << error.what() << '\n';
          ++totals_->failures;
        }
      });
    }
    for (std::thread& thread : all) thread.join();
  }

  pid_t start_process() {
    const std::uint64_t number = ++processes_;
    const pid_t child = ::fork();
    if (child != 0) return child;
    {
      CacheRegistry registry(config(), environment_of_all_stores());
      work(registry, threads_of_process, number);
    }
    ::_exit(0);
  }

  // Until the turns are done. Returns how many were killed.
  int run_and_kill(std::mt19937& random) {
    std::vector<pid_t> children;
    for (int i = 0; i < process_count; ++i) children.push_back(start_process());
    int killed = 0;
    while (totals_->turns < turns_ && totals_->failures == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 200));
      pid_t& victim = children.at(random() % children.size());
      ::kill(victim, SIGKILL);
      ::waitpid(victim, nullptr, 0);
      ++killed;
      victim = start_process();
    }
    for (const pid_t child : children) {
      int status = 0;
      EXPECT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_EQ(status, 0);
    }
    return killed;
  }

  const TemporaryFolder folder_;
  const std::string path_ = folder_.path() / "log";
  const Shared<Totals> totals_;
  const std::int64_t turns_ = number_from_environment("POLYCACHE_INDEX_TURNS", 6000);
  std::uint64_t processes_ = 0;
};

TEST_P(IndexProcesses, LoseNothingAndGiveNothingTwice) {
  const auto seed =
      static_cast<std::uint32_t>(number_from_environment("POLYCACHE_SEED", std::random_device()()));
  std::mt19937 random(seed);
  static_cast<void>(GetParam().location());  // its server is this process's
  int killed = 0;
  if (!GetParam().is_private) killed = run_and_kill(random);
  CacheRegistry registry(config(), environment_of_all_stores());
  if (GetParam().is_private) work(registry, process_count * threads_of_process, 1);
  const std::vector<Line> log = Log::read(path_);
  std::cout << GetParam().name << ": seed " << seed << ", " << log.size() << " lines, " << killed
            << " processes killed\n";
  EXPECT_EQ(totals_->failures, 0);
  for (const char name : {'k', 'o', 'c'}) {
    const Items index = index_of(registry, name);
    std::vector<std::int64_t> left;
    for (const auto& [key, value] : index) left.push_back(key);
    EXPECT_EQ(index.size(), left.size()) << "what it counts is what it lists";
    const std::vector<std::string> problems = problems_of(log, name, left);
    EXPECT_LE(problems.size(), 0U) << name << ": " << problems.front() << "; seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, IndexProcesses,
                         ::testing::Values(locmem_store, sqlite_store, redis_store), name_of);

}  // namespace
}  // namespace polycache::testing
