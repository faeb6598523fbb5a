// The output of this program: progress and results.

#pragma once

#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "facts.h"

namespace package_facts {

// A bar in the last line of a terminal; shows nothing if stderr is no terminal.
class Progress {
 public:
  Progress(std::string label, std::size_t total);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // erases the bar

  void show(std::size_t done);

 private:
  std::string label_;
  std::size_t total_;
  bool on_terminal_;
  std::chrono::steady_clock::time_point last_drawn_{};
};

using Duration = std::chrono::nanoseconds;

struct Row {
  std::string store;
  Duration cold{};
  Duration warm{};
  std::size_t hits = 0;    // of both passes
  std::size_t misses = 0;  // how often the facts of a package were computed
};

void print_table(std::ostream& out, Duration without_cache, const std::vector<Row>& rows);

void print_facts(std::ostream& out, std::string_view package, const Facts& facts);

}  // namespace package_facts
