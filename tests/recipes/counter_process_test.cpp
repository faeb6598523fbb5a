// Counters and rate limits under processes that are killed at random moments: no count is lost,
// none counts twice, and no more is allowed than the limit.
//
// A thread says in the log what it is about to count, and then what it got. What was killed in
// between may count or not; every other count must be there once. POLYCACHE_COUNT_TURNS is how
// often all of them count (process_model.h).

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "polycache/polycache.h"
#include "polycache/rate_limiter.h"
#include "process_model.h"
#include "support/process_log.h"

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;

// What is counted. The first three never end, and say the count after each use. The others have a
// limit that is soon reached.
enum Counted : int { counter, fixed, sliding, few_of_bucket, few_of_fixed, few_of_sliding, kinds };
constexpr bool has_numbers(int kind) { return kind < few_of_bucket; }

// So long that none begins in a test, and that a bucket gets no new token in it.
constexpr auto period = std::chrono::hours(24 * 365 * 10);
constexpr std::int64_t large_limit = 1'000'000'000;
constexpr std::int64_t small_limit = 60;

struct Line {
  char what = 'A';  // asked, counted, or refused
  int kind = counter;
  std::uint64_t owner = 0;  // of process, thread and turn
  std::int64_t cost = 0;
  std::int64_t sum = 0;  // all that was counted, with this; if has_numbers()
};

std::string text_of(const Line& line) {
  std::ostringstream text;
  text << line.what << ' ' << line.kind << ' ' << line.owner << ' ' << line.cost << ' ' << line.sum;
  return text.str();
}

std::istream& operator>>(std::istream& in, Line& line) {
  return in >> line.what >> line.kind >> line.owner >> line.cost >> line.sum;
}

// What the log says of one kind.
struct Counts {
  std::vector<Line> counted;
  std::int64_t sum = 0;      // of what was counted
  std::int64_t asked = 0;    // of all
  std::int64_t unknown = 0;  // of what was asked without an answer
};

std::array<Counts, kinds> counts_of(const std::vector<Line>& log) {
  std::array<Counts, kinds> all;
  for (const Line& line : log) {
    Counts& counts = all.at(static_cast<std::size_t>(line.kind));
    if (line.what == 'A') {
      counts.asked += line.cost;
      counts.unknown += line.cost;
      continue;
    }
    counts.unknown -= line.cost;
    if (line.what != 'C') continue;
    counts.sum += line.cost;
    counts.counted.push_back(line);
  }
  return all;
}

// `total`: what the store says at the end.
std::vector<std::string> problems_of(int kind, Counts counts, std::int64_t total) {
  std::vector<std::string> problems;
  const auto say = [&](const std::string& problem) {
    problems.push_back("kind " + std::to_string(kind) + ": " + problem);
  };
  if (total < counts.sum) {
    say("of " + std::to_string(counts.sum) + " only " + std::to_string(total) + " are there");
  }
  if (total > counts.sum + counts.unknown) {
    say(std::to_string(total) + " are there, of " + std::to_string(counts.sum) + " and perhaps " +
        std::to_string(counts.unknown));
  }
  if (!has_numbers(kind)) {
    if (total > small_limit) say(std::to_string(total) + " were allowed");
    if (total < std::min(small_limit, counts.asked - counts.unknown)) {
      say("only " + std::to_string(total) + " were allowed");
    }
    return problems;
  }
  // Each took a piece of its own of the numbers up to the total.
  std::sort(counts.counted.begin(), counts.counted.end(),
            [](const Line& a, const Line& b) { return a.sum < b.sum; });
  std::int64_t end = 0;
  for (const Line& line : counts.counted) {
    if (line.sum - line.cost < end) say(std::to_string(line.sum) + " was counted twice");
    end = line.sum;
  }
  if (end > total) say(std::to_string(end) + " was lost");
  return problems;
}

// --- The model itself ---

TEST(CounterModel, FindsWhatIsLostAndWhatCountsTwice) {
  const Line asked{'A', counter, 1, 2, 0};
  const auto problems = [&](std::vector<Line> log, std::int64_t total) {
    return problems_of(counter, counts_of(log)[counter], total).size();
  };
  const std::vector<Line> two{asked, {'C', counter, 1, 2, 2}, asked, {'C', counter, 2, 2, 4}};
  EXPECT_EQ(problems(two, 4), 0U);
  EXPECT_GT(problems(two, 2), 0U) << "lost";
  EXPECT_GT(problems(two, 5), 0U) << "from nowhere";
  EXPECT_GT(problems({asked, {'C', counter, 1, 2, 2}, asked, {'C', counter, 2, 2, 2}}, 4), 0U)
      << "both got the same number";
  EXPECT_GT(problems({asked, {'C', counter, 1, 2, 2}, asked, {'C', counter, 2, 2, 3}}, 4), 0U)
      << "they overlap";
  EXPECT_EQ(problems({asked, {'C', counter, 1, 2, 2}, asked}, 2), 0U) << "it was killed before";
  EXPECT_EQ(problems({asked, {'C', counter, 1, 2, 2}, asked}, 4), 0U) << "it was killed after";
  EXPECT_GT(problems({asked, {'C', counter, 1, 2, 2}, asked}, 6), 0U) << "it counted twice";
}

TEST(CounterModel, FindsMoreThanTheLimitAndLess) {
  std::vector<Line> log;
  const auto problems = [&](std::int64_t total) {
    return problems_of(few_of_fixed, counts_of(log)[few_of_fixed], total).size();
  };
  for (std::uint64_t owner = 0; owner < 100; ++owner) {
    log.push_back({'A', few_of_fixed, owner, 1, 0});
    log.push_back({owner < small_limit ? 'C' : 'R', few_of_fixed, owner, 1, 0});
  }
  EXPECT_EQ(problems(small_limit), 0U);
  EXPECT_GT(problems(small_limit - 1), 0U);
  log.push_back({'A', few_of_fixed, 100, 1, 0});
  EXPECT_EQ(problems(small_limit), 0U) << "it was killed";
  log.push_back({'C', few_of_fixed, 100, 1, 0});
  EXPECT_GT(problems(small_limit), 0U);
  EXPECT_GT(problems(small_limit + 1), 0U);
}

// --- The processes ---

struct Limiters {
  explicit Limiters(CacheRegistry& registry) {
    const auto add = [&](std::string name, std::int64_t limit, RateAlgorithm algorithm) {
      all.emplace_back(
          std::move(name),
          RateLimiterOptions{
              .limit = limit, .period = period, .algorithm = algorithm, .registry = &registry});
    };
    add("fixed", large_limit, RateAlgorithm::fixed_window);
    add("sliding", large_limit, RateAlgorithm::sliding_window);
    add("few_b", small_limit, RateAlgorithm::token_bucket);
    add("few_f", small_limit, RateAlgorithm::fixed_window);
    add("few_s", small_limit, RateAlgorithm::sliding_window);
  }
  const RateLimiter& of(int kind) const { return all.at(static_cast<std::size_t>(kind) - 1); }

  std::vector<RateLimiter> all;
};

class CounterProcesses : public ProcessModel {
 protected:
  CounterProcesses()
      : ProcessModel("counters", number_from_environment("POLYCACHE_COUNT_TURNS", 4000)) {}

  void work(CacheRegistry& registry, const ProcessLog& log, std::uint64_t thread) override {
    std::minstd_rand random(static_cast<std::uint32_t>(thread) * 7919U + 1U);
    const Limiters limiters(registry);
    Cache& cache = registry["default"];
    for (std::uint64_t turn = 1; !is_done(); ++turn) {
      const int kind = static_cast<int>(random() % kinds);
      const std::int64_t cost = has_numbers(kind) ? 1 + static_cast<std::int64_t>(random() % 3) : 1;
      Line line{'A', kind, thread * 1'000'000'000 + turn, cost, 0};
      log.append(text_of(line));
      line.what = 'C';
      if (kind == counter) {
        line.sum = cache.incr("counter", cost, {.initial = 0});
      } else {
        const RateVerdict verdict = limiters.of(kind).allow("all", cost);
        if (!verdict.allowed) line.what = 'R';
        if (has_numbers(kind)) line.sum = large_limit - verdict.left;
      }
      log.append(text_of(line));
      did_turn();
    }
  }
};

TEST_P(CounterProcesses, LoseNoCountAndCountNothingTwice) {
  std::array<std::int64_t, kinds> totals{};
  const std::string path = run([&](CacheRegistry& registry) {
    const Limiters limiters(registry);
    totals[counter] = registry["default"].get<std::int64_t>("counter").value_or(0);
    for (int kind = fixed; kind < kinds; ++kind) {
      const std::int64_t limit = has_numbers(kind) ? large_limit : small_limit;
      totals.at(static_cast<std::size_t>(kind)) = limit - limiters.of(kind).peek("all").left;
    }
  });
  const auto counts = counts_of(read_process_log<Line>(path));
  std::int64_t unknown = 0;
  for (int kind = 0; kind < kinds; ++kind) {
    const auto i = static_cast<std::size_t>(kind);
    unknown += counts.at(i).unknown;
    for (const std::string& problem : problems_of(kind, counts.at(i), totals.at(i))) {
      ADD_FAILURE() << problem << "; seed " << seed();
    }
  }
  std::cout << summary() << ", " << totals[counter] << " counted, " << unknown
            << " killed in between\n";
}

INSTANTIATE_TEST_SUITE_P(Stores, CounterProcesses, stores_of_processes, name_of);

}  // namespace
}  // namespace polycache::testing
