#include "report.h"

#include <unistd.h>

#include <iomanip>
#include <iostream>
#include <sstream>
#include <utility>

namespace package_facts {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t bar_width = 40;

// "1.23 s", "45.6 ms": three significant digits.
std::string to_text(Duration duration) {
  const bool short_one = duration < 1s;
  const double number = std::chrono::duration<double>(duration).count() * (short_one ? 1e3 : 1);
  std::ostringstream text;
  text << std::fixed
       << std::setprecision(number < 10    ? 2
                            : number < 100 ? 1
                                           : 0)
       << number << (short_one ? " ms" : " s");
  return text.str();
}

std::string ratio_text(Duration cold, Duration warm) {
  if (warm <= 0ns) return "-";
  const double ratio = static_cast<double>(cold.count()) / static_cast<double>(warm.count());
  std::ostringstream text;
  text << std::fixed << std::setprecision(ratio < 10 ? 1 : 0) << ratio << "x";
  return text.str();
}

template <class A, class B, class C, class D, class E>
void print_row(std::ostream& out, std::string_view store, const A& cold, const B& warm,
               const C& faster, const D& hits, const E& misses) {
  out << std::left << std::setw(18) << store << std::right << std::setw(10) << cold << std::setw(10)
      << warm << std::setw(9) << faster << std::setw(8) << hits << std::setw(8) << misses << '\n';
}

void print_names(std::ostream& out, std::string_view title, const std::vector<std::string>& names) {
  out << title << " (" << names.size() << "):";
  for (const std::string& name : names) out << ' ' << name;
  out << '\n';
}

}  // namespace

Progress::Progress(std::string label, std::size_t total)
    : label_(std::move(label)), total_(total), on_terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (on_terminal_) std::cerr << "\r\033[K" << std::flush;
}

void Progress::show(std::size_t done) {
  if (!on_terminal_ || total_ == 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_drawn_ < 50ms) return;  // drawing must not cost more than the work
  last_drawn_ = now;
  const std::size_t filled = bar_width * done / total_;
  std::cerr << '\r' << std::left << std::setw(18) << label_ << " ["
            << std::string(filled, '#') + std::string(bar_width - filled, '.') << "] "
            << 100 * done / total_ << "% " << std::flush;
}

void print_table(std::ostream& out, Duration without_cache, const std::vector<Row>& rows) {
  print_row(out, "store", "cold", "warm", "faster", "hits", "misses");
  print_row(out, "(without a cache)", to_text(without_cache), "-", "-", "-", "-");
  for (const Row& row : rows) {
    print_row(out, row.store, to_text(row.cold), to_text(row.warm), ratio_text(row.cold, row.warm),
              row.hits, row.misses);
  }
}

void print_facts(std::ostream& out, std::string_view package, const Facts& facts) {
  out << package << ": " << facts.kibibytes << " KiB with all it needs\n";
  print_names(out, "needs", facts.needs);
  print_names(out, "needed by", facts.needed_by);
  if (!facts.missing.empty()) {
    out << "asked for in vain (" << facts.missing.size() << "):";
    const char* separator = " ";
    for (const std::string& text : facts.missing) out << std::exchange(separator, ", ") << text;
    out << '\n';
  }
}

}  // namespace package_facts
