// A Deque on sqlite against diskcache's Deque (Python, also over SQLite), in turns:
//
//   benchmark_deque [VALUES [ROUNDS]]     # 2000 values of 100 bytes, 5 rounds
//
// Each round pushes the values at the back and pops them from the front, one by one, in a new
// folder. Prints the medians and their ratio. Without python3-diskcache it measures ours alone.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "polycache/backends/sqlite.h"
#include "polycache/deque.h"
#include "polycache/polycache.h"
#include "support/server.h"

namespace {

using Seconds = std::chrono::duration<double>;

struct Round {
  double push = 0;  // seconds
  double pop = 0;
};

// The size of a value is no part of its time here: it is the same for both.
const std::string value(100, 'x');

Round ours(int values) {
  const polycache::testing::TemporaryFolder folder;
  polycache::CacheRegistry registry(
      {.caches = {{"default", {.backend = "sqlite", .location = {folder.path() / "cache.db"}}}}},
      {.linked_plugins = {&polycache::sqlite::plugin}});
  polycache::Deque<std::string> deque("d", {.collection = {.registry = &registry}});
  deque.push_back(value);  // makes the file
  deque.pop_front();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < values; ++i) deque.push_back(value);
  const auto middle = std::chrono::steady_clock::now();
  for (int i = 0; i < values; ++i) {
    if (!deque.pop_front()) std::abort();
  }
  const auto end = std::chrono::steady_clock::now();
  return {Seconds(middle - begin).count(), Seconds(end - middle).count()};
}

// Without the start of Python. Empty if it has no diskcache.
std::optional<Round> theirs(int values) {
  const polycache::testing::TemporaryFolder folder;
  const std::string program =
      "import sys, time\n"
      "from diskcache import Deque\n"
      "deque = Deque(directory=sys.argv[1])\n"
      "count, value = int(sys.argv[2]), 'x' * 100\n"
      "deque.append(value)\n"
      "deque.popleft()\n"
      "begin = time.perf_counter()\n"
      "for _ in range(count): deque.append(value)\n"
      "middle = time.perf_counter()\n"
      "for _ in range(count): deque.popleft()\n"
      "print(middle - begin, time.perf_counter() - middle)\n";
  const std::string command = "/usr/bin/python3 -c \"" + program + "\" " + folder.path().string() +
                              " " + std::to_string(values) + " 2>/dev/null";
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  Round round;
  const int read = std::fscanf(pipe, "%lf %lf", &round.push, &round.pop);
  ::pclose(pipe);
  return read == 2 ? std::optional(round) : std::nullopt;
}

double median(const std::vector<Round>& rounds, double Round::*member) {
  std::vector<double> all;
  for (const Round& round : rounds) all.push_back(round.*member);
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const int values = argc > 1 ? std::atoi(argv[1]) : 2000;
  const int count = argc > 2 ? std::atoi(argv[2]) : 5;
  if (values <= 0 || count <= 0) {
    std::fprintf(stderr, "usage: benchmark_deque [VALUES [ROUNDS]]\n");
    return 2;
  }
  std::vector<Round> mine;
  std::vector<Round> other;
  for (int i = 0; i < count; ++i) {
    mine.push_back(ours(values));
    if (const auto round = theirs(values)) other.push_back(*round);
  }
  struct Named {
    const char* name;
    double Round::*member;
  };
  for (const auto& [name, member] : {Named{"push", &Round::push}, Named{"pop", &Round::pop}}) {
    const double us = median(mine, member) * 1e6 / values;
    std::printf("%s: polycache %.1f us", name, us);
    if (!other.empty()) {
      const double theirs_us = median(other, member) * 1e6 / values;
      std::printf(", diskcache %.1f us: %.1f times as fast", theirs_us, theirs_us / us);
    }
    std::printf("\n");
  }
  if (other.empty()) std::printf("python3-diskcache is not installed\n");
}
