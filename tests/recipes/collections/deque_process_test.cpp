// Deques under threads, and under processes that are killed at random moments: no value is lost,
// none is popped twice, values of one producer stay in order, and a limit holds.
//
// Each thread appends what it does to a log, and a model checks the log. 4 processes of 3 threads,
// on locmem 12 threads. POLYCACHE_DEQUE_STEPS is how many values are pushed, POLYCACHE_SEED chooses
// the same kills again, as far as the machine runs the threads alike.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/deque.h"
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

using Value = std::uint64_t;

constexpr int process_count = 4;
constexpr int threads_of_process = 3;
constexpr std::uint64_t limit = 5;
constexpr Value values_of_thread = 1'000'000'000;  // a value is its thread and a number

std::int64_t number_from_environment(const char* name, std::int64_t fallback) {
  const char* const text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoll(text, nullptr, 10);
}

// A line of the log.
struct Line {
  // A thread writes 'b' before it pushes a value and 'p' after it; 't' before it pops and 'g' with
  // the value after it, or 'n' if there was none. 'r' is a value that is left at the end.
  char what = 'b';
  Value thread = 0;
  char deque = 'q';  // a queue, or a deque whose both ends are used ('d')
  Value value = 0;
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
    std::ostringstream text;
    text << line.what << ' ' << line.thread << ' ' << line.deque << ' ' << line.value << '\n';
    const std::string bytes = text.str();
    if (::write(file_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) _exit(9);
  }

  static std::vector<Line> read(const std::string& path) {
    std::vector<Line> lines;
    std::ifstream file(path);
    for (Line line; file >> line.what >> line.thread >> line.deque >> line.value;) {
      lines.push_back(line);
    }
    return lines;
  }

 private:
  int file_;
};

struct Findings {
  std::size_t pushed = 0;
  std::size_t popped = 0;
  std::size_t missing = 0;
  std::size_t unfinished_pops = 0;  // of threads that were killed
  std::vector<std::string> problems;
};

class Model {
 public:
  void add(const Line& line) {
    const std::pair key(line.deque, line.value);
    switch (line.what) {
      case 'b':
        begun_.insert(key);
        break;
      case 'p':
        pushed_.insert(key);
        break;
      case 't':
        popping_.insert(line.thread);
        break;
      case 'n':
        popping_.erase(line.thread);
        break;
      default:
        if (line.what == 'g') popping_.erase(line.thread);
        take(line);
    }
  }

  Findings end() {
    findings_.pushed = pushed_.size();
    findings_.popped = popped_.size();
    findings_.unfinished_pops = popping_.size();
    for (const auto& key : pushed_) findings_.missing += popped_.contains(key) ? 0 : 1;
    // A thread that was killed may have had one value that it did not log.
    if (findings_.missing > findings_.unfinished_pops) complain("values are missing");
    return std::move(findings_);
  }

 private:
  void take(const Line& line) {
    const std::pair key(line.deque, line.value);
    const std::string name = std::to_string(line.value);
    if (!popped_.insert(key).second) complain(name + " was popped twice");
    if (!begun_.contains(key)) complain(name + " was never pushed");
    if (line.deque != 'q') return;
    Value& last = last_[{line.thread, line.value / values_of_thread}];
    if (line.value <= last) complain(name + " came after " + std::to_string(last));
    last = line.value;
  }
  void complain(std::string problem) { findings_.problems.push_back(std::move(problem)); }

  std::set<std::pair<char, Value>> begun_, pushed_, popped_;
  std::set<Value> popping_;                        // threads
  std::map<std::pair<Value, Value>, Value> last_;  // by consumer and producer
  Findings findings_;
};

Findings check(const std::vector<Line>& log) {
  Model model;
  for (const Line& line : log) model.add(line);
  return model.end();
}

// --- The model itself ---

TEST(DequeModel, FindsWhatIsLostRepeatedOrOutOfOrder) {
  const std::vector<Line> good{{'b', 1, 'q', 7}, {'p', 1, 'q', 7}, {'t', 2, 'q', 0},
                               {'g', 2, 'q', 7}, {'t', 2, 'q', 0}, {'n', 2, 'q', 0}};
  EXPECT_TRUE(check(good).problems.empty());
  auto twice = good;
  twice.push_back({'r', 0, 'q', 7});
  EXPECT_FALSE(check(twice).problems.empty());
  auto lost = good;
  lost.push_back({'b', 1, 'q', 8});
  EXPECT_TRUE(check(lost).problems.empty()) << "the push did not end";
  lost.push_back({'p', 1, 'q', 8});
  EXPECT_FALSE(check(lost).problems.empty());
  lost.push_back({'t', 3, 'q', 0});
  EXPECT_TRUE(check(lost).problems.empty()) << "thread 3 may have it";
  auto invented = good;
  invented.push_back({'g', 2, 'q', 9});
  EXPECT_FALSE(check(invented).problems.empty());
  std::vector<Line> order{{'b', 1, 'q', 7}, {'b', 1, 'q', 8}, {'g', 2, 'q', 8}, {'g', 2, 'q', 7}};
  EXPECT_FALSE(check(order).problems.empty());
  order[3].thread = 3;
  EXPECT_TRUE(check(order).problems.empty()) << "two consumers";
}

// --- The threads ---

struct Totals {
  std::atomic<std::int64_t> pushed{0};
  std::atomic<std::int64_t> too_long{0};
  std::atomic<std::int64_t> failures{0};
};

class Worker {
 public:
  Worker(CacheRegistry& registry, const Log& log, Totals& totals, std::int64_t steps, Value number)
      : log_(log),
        totals_(totals),
        steps_(steps),
        number_(number),
        queue_("queue", {.collection = {.registry = &registry}}),
        both_("both", {.collection = {.registry = &registry}}),
        limited_("limited", {.maxlen = limit, .collection = {.registry = &registry}}) {}

  void run() {
    while (totals_.pushed < steps_) {
      switch (random_() % 8) {
        case 0:
          limited_.extend_back({1, 2, 3});
          if (limited_.size() > limit) ++totals_.too_long;
          break;
        case 1:
          both_.rotate(static_cast<std::int64_t>(random_() % 7) - 3);
          break;
        case 2:
        case 3:
          push('q', [&](Value value) { queue_.push_back(value); });
          break;
        case 4:
          push('d', [&](Value value) {
            random_() % 2 == 0 ? both_.push_back(value) : both_.push_front(value);
          });
          break;
        case 5:
          pop('d', [&] { return random_() % 2 == 0 ? both_.pop_back() : both_.pop_front(); });
          break;
        default:
          pop('q', [&] { return queue_.pop_front(); });
      }
    }
  }

  // What is left.
  void drain() {
    for (const Value value : queue_) log_.append({'r', number_, 'q', value});
    for (const Value value : both_) log_.append({'r', number_, 'd', value});
  }

 private:
  template <class Push>
  void push(char deque, Push push) {
    const Value value = number_ * values_of_thread + ++last_;
    log_.append({'b', number_, deque, value});
    push(value);
    log_.append({'p', number_, deque, value});
    ++totals_.pushed;
  }
  template <class Pop>
  void pop(char deque, Pop pop) {
    log_.append({'t', number_, deque, 0});
    const std::optional<Value> value = pop();
    log_.append({value ? 'g' : 'n', number_, deque, value.value_or(0)});
  }

  const Log& log_;
  Totals& totals_;
  const std::int64_t steps_;
  const Value number_;
  Value last_ = 0;
  std::minstd_rand random_{static_cast<std::uint32_t>(number_) * 7919U + 1U};
  Deque<Value> queue_, both_, limited_;
};

class DequeProcesses : public ::testing::TestWithParam<ProcessStore> {
 protected:
  Config config() const {
    return {.caches = {{"default",
                        {.backend = GetParam().name,
                         .location = GetParam().location(),
                         .key_prefix = "processes",
                         .options = patient_options(GetParam().name)}}}};
  }

  // The threads of one process.
  void work(CacheRegistry& registry, int threads, Value number) {
    const Log log(path_);
    std::vector<std::thread> all;
    all.reserve(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) {
      all.emplace_back([&, i] {
        try {
          Worker(registry, log, *totals_.operator->(), steps_, number * 100 + static_cast<Value>(i))
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
    const Value number = ++processes_;
    const pid_t child = ::fork();
    if (child != 0) return child;
    {
      CacheRegistry registry(config(), environment_of_all_stores());
      work(registry, threads_of_process, number);
    }
    ::_exit(0);
  }

  // Until the steps are done. Returns how many were killed.
  int run_and_kill(std::mt19937& random) {
    std::vector<pid_t> children;
    children.reserve(process_count);
    for (int i = 0; i < process_count; ++i) children.push_back(start_process());
    int killed = 0;
    while (totals_->pushed < steps_ && totals_->failures == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 300));
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
  std::int64_t steps_ = number_from_environment("POLYCACHE_DEQUE_STEPS", 1500);
  Value processes_ = 0;
};

TEST_P(DequeProcesses, LoseNoValueAndPopNoneTwice) {
  const auto seed =
      static_cast<std::uint32_t>(number_from_environment("POLYCACHE_SEED", std::random_device()()));
  std::mt19937 random(seed);
  static_cast<void>(GetParam().location());  // its server is this process's
  const bool alone = GetParam().is_private;
  const auto begin = std::chrono::steady_clock::now();
  const int killed = alone ? 0 : run_and_kill(random);
  CacheRegistry registry(config(), environment_of_all_stores());
  if (alone) work(registry, process_count * threads_of_process, 1);
  const Log log(path_);
  Worker(registry, log, *totals_.operator->(), 0, 0).drain();

  const Findings findings = check(Log::read(path_));
  const auto seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::cout << "seed " << seed << ": " << findings.pushed << " pushed, " << findings.popped
            << " popped, " << killed << " processes killed, which may have had "
            << findings.unfinished_pops << " values, of which " << findings.missing
            << " are missing; " << seconds << " s\n";
  for (const std::string& problem : findings.problems) ADD_FAILURE() << problem;
  EXPECT_GE(findings.pushed, static_cast<std::size_t>(steps_) / 2);
  EXPECT_EQ(totals_->too_long, 0);
  EXPECT_EQ(totals_->failures, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Stores, DequeProcesses,
    ::testing::Values(ProcessStore{"locmem", [] { return std::vector<std::string>(); }, true},
                      sqlite_store, redis_store),
    name_of);

}  // namespace
}  // namespace polycache::testing
