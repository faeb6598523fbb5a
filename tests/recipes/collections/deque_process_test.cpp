// Deques under threads, and under processes that are killed at random moments: no value is lost,
// none is popped twice, values of one producer stay in order, and a limit holds.
//
// Each thread appends what it does to a log, and a model checks the log. 4 processes of 3 threads,
// on locmem 12 threads. POLYCACHE_DEQUE_STEPS is how many values are pushed, POLYCACHE_SEED chooses
// the same kills again, as far as the machine runs the threads alike.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "polycache/deque.h"
#include "polycache/polycache.h"
#include "recipes/process_model.h"
#include "support/process_log.h"
#include "support/process_stores.h"

namespace polycache::testing {
namespace {

using Value = std::uint64_t;

constexpr std::uint64_t limit = 5;
constexpr Value values_of_thread = 1'000'000'000;  // a value is its thread and a number

// A line of the log.
struct Line {
  // A thread writes 'b' before it pushes a value and 'p' after it; 't' before it pops and 'g' with
  // the value after it, or 'n' if there was none. 'r' is a value that is left at the end.
  char what = 'b';
  Value thread = 0;
  char deque = 'q';  // a queue, or a deque whose both ends are used ('d')
  Value value = 0;
};

std::string text_of(const Line& line) {
  std::ostringstream text;
  text << line.what << ' ' << line.thread << ' ' << line.deque << ' ' << line.value;
  return text.str();
}

std::istream& operator>>(std::istream& in, Line& line) {
  return in >> line.what >> line.thread >> line.deque >> line.value;
}

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

// The three deques, for one thread.
class Deques {
 public:
  explicit Deques(CacheRegistry& registry)
      : queue("queue", {.collection = {.registry = &registry}}),
        both("both", {.collection = {.registry = &registry}}),
        limited("limited", {.maxlen = limit, .collection = {.registry = &registry}}) {}

  Deque<Value> queue, both, limited;
};

// A turn is a value that was pushed.
class DequeProcesses : public ProcessModel {
 protected:
  DequeProcesses()
      : ProcessModel("processes", number_from_environment("POLYCACHE_DEQUE_STEPS", 1500),
                     {.processes = 4, .threads = 3}) {}

  void work(CacheRegistry& registry, const ProcessLog& log, std::uint64_t thread) override {
    Deques deques(registry);
    std::minstd_rand random(static_cast<std::uint32_t>(thread) * 7919U + 1U);
    Value last = thread * values_of_thread;
    const auto push = [&](char name, auto push_value) {
      const Value value = ++last;
      log.append(text_of({'b', thread, name, value}));
      push_value(value);
      log.append(text_of({'p', thread, name, value}));
      did_turn();
    };
    const auto pop = [&](char name, auto pop_value) {
      log.append(text_of({'t', thread, name, 0}));
      const std::optional<Value> value = pop_value();
      log.append(text_of({value ? 'g' : 'n', thread, name, value.value_or(0)}));
    };
    while (!is_done()) {
      switch (random() % 8) {
        case 0:
          deques.limited.extend_back({1, 2, 3});
          if (deques.limited.size() > limit) throw std::runtime_error("longer than its limit");
          break;
        case 1:
          deques.both.rotate(static_cast<std::int64_t>(random() % 7) - 3);
          break;
        case 2:
        case 3:
          push('q', [&](Value value) { deques.queue.push_back(value); });
          break;
        case 4:
          push('d', [&](Value value) {
            random() % 2 == 0 ? deques.both.push_back(value) : deques.both.push_front(value);
          });
          break;
        case 5:
          pop('d',
              [&] { return random() % 2 == 0 ? deques.both.pop_back() : deques.both.pop_front(); });
          break;
        default:
          pop('q', [&] { return deques.queue.pop_front(); });
      }
    }
  }
};

TEST_P(DequeProcesses, LoseNoValueAndPopNoneTwice) {
  std::vector<Line> left;
  const std::string path = run([&](CacheRegistry& registry) {
    const Deques deques(registry);
    for (const Value value : deques.queue) left.push_back({'r', 0, 'q', value});
    for (const Value value : deques.both) left.push_back({'r', 0, 'd', value});
  });
  std::vector<Line> log = read_process_log<Line>(path);
  log.insert(log.end(), left.begin(), left.end());
  const Findings findings = check(log);
  std::cout << summary() << ": " << findings.pushed << " pushed, " << findings.popped
            << " popped; those that were killed may have had " << findings.unfinished_pops
            << " values, of which " << findings.missing << " are missing\n";
  for (const std::string& problem : findings.problems) ADD_FAILURE() << problem;
  EXPECT_GE(findings.pushed, static_cast<std::size_t>(turns()) / 2);
}

INSTANTIATE_TEST_SUITE_P(Stores, DequeProcesses,
                         ::testing::Values(locmem_store, sqlite_store, redis_store), name_of);

}  // namespace
}  // namespace polycache::testing
