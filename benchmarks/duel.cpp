#include "duel.h"

#include <sched.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string_view>
#include <utility>

namespace duel {
namespace {

std::string& program_name() {
  static std::string name;
  return name;
}

struct Quartiles {
  double low;
  double median;
  double high;
};

// REQUIRES: !values.empty()
Quartiles quartiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
  };
  return {at(0.25), at(0.5), at(0.75)};
}

double middle(const std::vector<double>& values, Average average) {
  if (average == Average::median) return quartiles(values).median;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Options parse(const std::string& program, int argc, char** argv) {
  Options options{.program = program, .rest = {}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--quick") {
      options.quick = true;
    } else if (word == "--cpu") {
      options.cpu = true;
    } else if (word == "--only" && i + 1 < argc) {
      options.only = argv[++i];
    } else if (word == "--rows" && i + 1 < argc) {
      options.rows = argv[++i];
    } else if (word.starts_with("-")) {
      give_up("usage: " + program + " [--quick] [--cpu] [--only TEXT] [--rows FILE]");
    } else {
      options.rest.emplace_back(word);
    }
  }
  return options;
}

std::string formatted(const char* format, double number) {
  char text[64];
  std::snprintf(text, sizeof text, format, number);
  return text;
}

}  // namespace

int run(const std::string& program, int argc, char** argv,
        const std::function<bool(const Options&)>& body) {
  program_name() = program;
  const Options options = parse(program, argc, argv);
  try {
    return body(options) ? 0 : 1;
  } catch (const std::exception& problem) {
    give_up(problem.what());
  }
}

void give_up(const std::string& why) {
  std::fprintf(stderr, "%s benchmark: %s\n", program_name().c_str(), why.c_str());
  std::exit(2);
}

void pin_to_one_cpu() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) give_up("cannot read the CPU set");
  int last = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) last = cpu;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  if (::sched_setaffinity(0, sizeof one, &one) != 0) give_up("cannot pin to a CPU");
}

std::vector<std::size_t> popular(std::size_t keys, std::size_t count) {
  std::vector<double> sums;
  double total = 0;
  for (std::size_t i = 0; i < keys; ++i) {
    total += 1.0 / static_cast<double>(i + 1);
    sums.push_back(total);
  }
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> anywhere(0, total);
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = std::lower_bound(sums.begin(), sums.end(), anywhere(random));
    indices.push_back(std::min(static_cast<std::size_t>(at - sums.begin()), keys - 1));
  }
  return indices;
}

Stopwatch::Stopwatch(const Options& options, std::vector<clockid_t> others)
    : clocks_({CLOCK_MONOTONIC}) {
  if (!options.cpu) return;
  clocks_ = std::move(others);
  clocks_.push_back(CLOCK_PROCESS_CPUTIME_ID);
}

double Stopwatch::now() const {
  double sum = 0;
  for (const clockid_t clock : clocks_) {
    timespec time{};
    ::clock_gettime(clock, &time);
    sum += static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  }
  return sum;
}

clockid_t cpu_clock(pid_t process) {
  clockid_t clock = 0;
  if (::clock_getcpuclockid(process, &clock) != 0) {
    give_up("cannot read the CPU time of the process " + std::to_string(process));
  }
  return clock;
}

struct Table::Row {
  const std::string& name;
  std::string unit;
  double ours;
  std::optional<double> theirs = {};
  std::optional<double> ratio = {};
  std::optional<Quartiles> spread = {};  // of the ratio; without a peer, of ours
  const std::optional<Goal>& goal;
};

Table::Table(const Options& options, Heading heading)
    : options_(options), heading_(std::move(heading)) {
  std::printf("\n%s%s\n\n", heading_.title.c_str(), options.cpu ? " (time on the CPU)" : "");
  std::printf("| %-36s | %-4s | %9s | %9s | %-22s | %-10s | %-6s |\n", "operation", "unit", "ours",
              heading_.theirs.c_str(), "ratio (quartiles)", "goal", "");
  const auto line = [](int count) { return std::string(static_cast<std::size_t>(count), '-'); };
  std::printf("|%s|------|----------:|----------:|%s|%s|--------|\n", line(38).c_str(),
              line(24).c_str(), line(12).c_str());
  std::fflush(stdout);
}

void Table::add(const Contest& contest, const Stopwatch& stopwatch) {
  if (contest.name.find(options_.only) == std::string::npos) return;
  const std::size_t slices =
      options_.quick ? std::max<std::size_t>(contest.slices / 6, 5) : contest.slices;
  const double unit = heading_.unit == Unit::nanoseconds ? 1 : 1e3;
  const double divisor = static_cast<double>(contest.operations * contest.keys_each) * unit;
  std::vector<double> ours;
  std::vector<double> theirs;
  std::vector<double> ratios;
  const auto take = [&](const Contender& contender, std::vector<double>& times, std::size_t slice) {
    times.push_back(contender(stopwatch, slice * contest.operations, contest.operations) / divisor);
  };
  for (std::size_t slice = 0; slice < slices; ++slice) {
    if (slice % 2 == 0) take(contest.ours, ours, slice);
    if (contest.theirs) take(contest.theirs, theirs, slice);
    if (slice % 2 != 0) take(contest.ours, ours, slice);
    // Two neighbouring pairs, one in each order: who goes second may find warmer caches.
    if (contest.theirs && slice % 2 != 0) {
      ratios.push_back((theirs[slice - 1] + theirs[slice]) / (ours[slice - 1] + ours[slice]));
    }
  }
  Row row{.name = contest.name,
          .unit = heading_.unit == Unit::nanoseconds ? "ns" : "us",
          .ours = middle(ours, contest.average),
          .goal = contest.goal};
  row.spread = quartiles(contest.theirs ? ratios : ours);
  if (contest.theirs) {
    row.theirs = middle(theirs, contest.average);
    row.ratio = contest.average == Average::sum ? *row.theirs / row.ours : row.spread->median;
  }
  print(row);
}

void Table::add_figure(const std::string& name, const std::string& unit, double ours,
                       std::optional<double> theirs, const std::optional<Goal>& goal) {
  if (name.find(options_.only) == std::string::npos) return;
  Row row{.name = name, .unit = unit, .ours = ours, .theirs = theirs, .goal = goal};
  if (theirs) row.ratio = *theirs / ours;
  print(row);
}

void Table::print(const Row& row) {
  bool met = true;
  std::string goal;
  if (row.goal) {
    const bool about_ratio = row.goal->kind == Goal::Kind::ratio_at_least;
    met = about_ratio ? row.ratio && *row.ratio >= row.goal->bound : row.ours <= row.goal->bound;
    met_ = met_ && met;
    goal = row.goal->id + (about_ratio ? " >= " : " <= ") + formatted("%g", row.goal->bound);
  }
  std::string ratio = row.ratio ? formatted("%6.2f", *row.ratio) : std::string();
  if (row.spread) {
    ratio += formatted(" (%.2f", row.spread->low) + formatted(" to %.2f)", row.spread->high);
  }
  const std::string theirs = row.theirs ? formatted("%9.2f", *row.theirs) : std::string();
  const char* const verdict = !row.goal ? "" : met ? "met" : "missed";
  std::printf("| %-36s | %-4s | %9.2f | %9s | %-22s | %-10s | %-6s |\n", row.name.c_str(),
              row.unit.c_str(), row.ours, theirs.c_str(), ratio.c_str(), goal.c_str(), verdict);
  std::fflush(stdout);
  record(row, met);
}

void Table::record(const Row& row, bool met) const {
  if (options_.rows.empty()) return;
  nlohmann::json line{
      {"program", options_.program}, {"table", heading_.title}, {"contender", heading_.theirs},
      {"operation", row.name},       {"unit", row.unit},        {"ours", row.ours}};
  if (row.theirs) line["theirs"] = *row.theirs;
  if (row.ratio) line["ratio"] = *row.ratio;
  if (row.spread) line["quartiles"] = {row.spread->low, row.spread->high};
  if (row.goal) {
    const bool about_ratio = row.goal->kind == Goal::Kind::ratio_at_least;
    line["goal"] = row.goal->id;
    line[about_ratio ? "at_least" : "at_most"] = row.goal->bound;
    line["met"] = met;
  }
  std::ofstream file(options_.rows, std::ios::app);
  file << line.dump() << '\n';
  if (!file.flush()) give_up("cannot write " + options_.rows);
}

}  // namespace duel
