// How the benchmarks compare: ours and theirs take turns in slices of one run, so that a slow
// moment of the machine hits both, and a ratio is that of two neighbouring slices.
//
//   int main(int argc, char** argv) {
//     return duel::run("redis", argc, argv, [](const duel::Options& options) {
//       duel::Table table(options, {.title = "ours against hiredis", .theirs = "hiredis"});
//       table.add({.name = "get", .goal = duel::at_least("R1", 1.0),
//                  .ours = duel::each([&](std::size_t i) { ... }), .theirs = ...});
//       return table.met();
//     });
//   }
//
// Single-threaded but for the contenders that threads() makes.

#pragma once

#include <time.h>

#include <barrier>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace duel {

struct Options {
  std::string program;
  bool quick = false;             // a sixth of the slices
  bool cpu = false;               // count time on the CPU instead of time that passed
  std::string only = {};          // only the operations whose name has this text
  std::string rows = {};          // a file that every row is appended to, as a line of JSON
  std::vector<std::string> rest;  // arguments that are no options
};

// Parses the command line and calls `body`. Exit status: 0 if that says that every goal is
// met, 1 if one is missed, 2 if nothing could be measured.
int run(const std::string& program, int argc, char** argv,
        const std::function<bool(const Options&)>& body);

// Ends the program with status 2 and a sentence.
[[noreturn]] void give_up(const std::string& why);

inline void expect(bool good) {
  if (!good) [[unlikely]]
    give_up("an operation had the wrong result");
}

// Keeps the compiler from dropping a result.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

// This process, and with it every child that it starts from now on, on its last CPU: a round
// trip between two idle virtual CPUs costs ten times as much, and the scheduler would decide
// who wins.
void pin_to_one_cpu();

// Indices below `keys`, few often and many seldom: the k-th most popular one with a
// probability like 1/k.
std::vector<std::size_t> popular(std::size_t keys, std::size_t count);

// Nanoseconds by one clock, or by the sum of several.
class Stopwatch {
 public:
  // What passes, or with --cpu what this process and those with the given clocks compute.
  explicit Stopwatch(const Options& options, std::vector<clockid_t> others = {});

  double now() const;

 private:
  std::vector<clockid_t> clocks_;
};

// The clock of another process's CPU time.
clockid_t cpu_clock(pid_t process);

// Runs operations `first`, `first` + 1, ... and returns the nanoseconds that they took.
using Contender =
    std::function<double(const Stopwatch& stopwatch, std::size_t first, std::size_t operations)>;

template <class Operation>
Contender each(Operation operation) {
  return [operation](const Stopwatch& stopwatch, std::size_t first, std::size_t operations) {
    const double begin = stopwatch.now();
    for (std::size_t i = first; i < first + operations; ++i) operation(i);
    return stopwatch.now() - begin;
  };
}

// prepare(i) makes what operation(i, made) works on, before the time is taken.
template <class Prepare, class Operation>
Contender each_prepared(Prepare prepare, Operation operation) {
  return
      [prepare, operation](const Stopwatch& stopwatch, std::size_t first, std::size_t operations) {
        double took = 0;
        for (std::size_t i = first; i < first + operations; ++i) {
          const auto made = prepare(i);
          const double begin = stopwatch.now();
          operation(i, made);
          took += stopwatch.now() - begin;
        }
        return took;
      };
}

// Divides the operations among threads. make() gives each thread its operation, with what
// it needs open and warm. The time is what passes, whatever the stopwatch counts.
template <class Make>
Contender threads(std::size_t count, Make make) {
  return [count, make](const Stopwatch&, std::size_t first, std::size_t operations) {
    std::barrier line(static_cast<std::ptrdiff_t>(count) + 1);
    std::vector<std::thread> all;
    for (std::size_t t = 0; t < count; ++t) {
      all.emplace_back([&, t] {
        auto operation = make();
        for (std::size_t i = 0; i < 200; ++i) operation(i);
        line.arrive_and_wait();
        for (std::size_t i = t; i < operations; i += count) operation(first + i);
        line.arrive_and_wait();
      });
    }
    line.arrive_and_wait();
    const auto begin = std::chrono::steady_clock::now();
    line.arrive_and_wait();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    for (std::thread& thread : all) thread.join();
    return took.count();
  };
}

// "R1": theirs / ours at least 1.0; "O1": ours at most 20.
struct Goal {
  enum class Kind : unsigned char { ratio_at_least, ours_at_most };
  std::string id;
  Kind kind;
  double bound;
};

inline Goal at_least(std::string id, double ratio) {
  return {std::move(id), Goal::Kind::ratio_at_least, ratio};
}
inline Goal at_most(std::string id, double ours) {
  return {std::move(id), Goal::Kind::ours_at_most, ours};
}

// Rare but dear moments (a checkpoint) fall into few slices: sums have them, medians not.
enum class Average : unsigned char { median, sum };

struct Contest {
  std::string name;
  std::size_t operations = 50;  // of one slice
  std::size_t keys_each = 1;    // of one operation; times are per key
  std::size_t slices = 2000;    // of each side
  Average average = Average::median;
  std::optional<Goal> goal = {};
  Contender ours;
  Contender theirs = {};  // empty: there is no peer
};

enum class Unit : unsigned char { nanoseconds, microseconds };

struct Heading {
  std::string title;
  std::string theirs = "theirs";
  Unit unit = Unit::microseconds;
};

// Prints one line of a Markdown table for each contest, as soon as it is over.
class Table {
 public:
  Table(const Options& options, Heading heading);

  void add(const Contest& contest, const Stopwatch& stopwatch);
  void add(const Contest& contest) { add(contest, Stopwatch(options_)); }

  // A number that is no time, such as bytes of memory; `ours` is what a goal is about unless
  // it is about the ratio.
  void add_figure(const std::string& name, const std::string& unit, double ours,
                  std::optional<double> theirs = {}, const std::optional<Goal>& goal = {});

  // Whether no goal was missed so far.
  bool met() const noexcept { return met_; }

 private:
  struct Row;
  void print(const Row& row);
  void record(const Row& row, bool met) const;

  const Options& options_;
  Heading heading_;
  bool met_ = true;
};

}  // namespace duel
