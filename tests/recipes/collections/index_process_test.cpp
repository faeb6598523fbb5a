// Indexes under processes that are killed at random moments: nothing is lost, nothing is given
// twice, a key is inserted once, and loops see keys in order.
//
// Each thread writes what it does to a log, and a model checks the log. 6 processes of 3 threads,
// on locmem 18 threads. POLYCACHE_INDEX_TURNS is how many operations there are, POLYCACHE_SEED
// chooses the same kills again, as far as the machine runs the threads alike.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "polycache/index.h"
#include "polycache/polycache.h"
#include "recipes/process_model.h"
#include "support/process_log.h"
#include "support/process_stores.h"

namespace polycache::testing {
namespace {

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

std::string text_of(const Line& line) {
  std::ostringstream text;
  text << line.what << ' ' << line.index << ' ' << line.thread << ' ' << line.key;
  return text.str();
}

std::istream& operator>>(std::istream& in, Line& line) {
  return in >> line.what >> line.index >> line.thread >> line.key;
}

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

// The calls of one thread.
class Calls {
 public:
  Calls(CacheRegistry& registry, const ProcessLog& log, std::atomic<std::int64_t>& contested_keys,
        std::uint64_t thread)
      : log_(log),
        contested_keys_(contested_keys),
        thread_(thread),
        by_key_(index_of(registry, 'k')),
        by_insertion_(index_of(registry, 'o')),
        contested_(index_of(registry, 'c')) {}

  void call_one() {
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

 private:
  void work_on(Items& index, char name) {
    const auto choice = random_() % 16;
    if (choice < 8) {
      // Unique, and spread, so that threads insert between one another's keys.
      const auto key =
          static_cast<std::int64_t>((++turn_ * 100 + random_() % 100) * 1'000'000 + thread_);
      note('i', name, key);
      if (!index.insert(key, -key)) throw std::runtime_error("a new key was there");
      note('I', name, key);
    } else if (choice < 15) {
      note('p', name, 0);
      const auto item = index.popitem(random_() % 2 == 0 ? IndexEnd::first : IndexEnd::last);
      if (item && item->second != -item->first) throw std::runtime_error("another's value");
      note('P', name, item ? item->first : 0);
    } else {
      look_at(index, name);
    }
  }

  // About six threads try each key.
  void contest() {
    const std::int64_t key = 1 + contested_keys_++ / 6;
    note('w', 'c', key);
    if (contested_.insert(key, -key)) note('W', 'c', key);
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

  void note(char what, char name, std::int64_t key) {
    log_.append(text_of({what, name, thread_, key}));
  }

  const ProcessLog& log_;
  std::atomic<std::int64_t>& contested_keys_;
  const std::uint64_t thread_;
  Items by_key_;
  Items by_insertion_;
  Items contested_;
  std::uint64_t turn_ = 0;
  std::minstd_rand random_{static_cast<std::uint32_t>(thread_) * 7919U + 1U};
};

class IndexProcesses : public ProcessModel {
 protected:
  IndexProcesses()
      : ProcessModel("processes", number_from_environment("POLYCACHE_INDEX_TURNS", 6000),
                     {.processes = 6, .threads = 3}) {}

  void work(CacheRegistry& registry, const ProcessLog& log, std::uint64_t thread) override {
    Calls calls(registry, log, *contested_keys_.operator->(), thread);
    while (!is_done()) {
      calls.call_one();
      did_turn();
    }
  }

 private:
  const Shared<std::atomic<std::int64_t>> contested_keys_;
};

TEST_P(IndexProcesses, LoseNothingAndGiveNothingTwice) {
  constexpr std::array names{'k', 'o', 'c'};
  std::map<char, std::vector<std::int64_t>> left;
  const std::string path = run([&](CacheRegistry& registry) {
    for (const char name : names) {
      const Items index = index_of(registry, name);
      for (const auto& [key, value] : index) left[name].push_back(key);
      EXPECT_EQ(index.size(), left[name].size()) << "what it counts is what it lists";
    }
  });
  const std::vector<Line> log = read_process_log<Line>(path);
  std::cout << summary() << ", " << log.size() << " records\n";
  for (const char name : names) {
    const std::vector<std::string> problems = problems_of(log, name, left[name]);
    EXPECT_LE(problems.size(), 0U) << name << ": " << problems.front() << "; seed " << seed();
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, IndexProcesses,
                         ::testing::Values(locmem_store, sqlite_store, redis_store), name_of);

}  // namespace
}  // namespace polycache::testing
