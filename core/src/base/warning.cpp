#include "polycache/warning.h"

#include <chrono>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/cold_mutex.h"
#include "base/no_destructor.h"
#include "polycache/author/clock.h"

namespace polycache {

std::string_view to_string(Warning::Kind kind) noexcept {
  switch (kind) {
    case Warning::Kind::key_too_long:
      return "key_too_long";
    case Warning::Kind::key_bad_byte:
      return "key_bad_byte";
    case Warning::Kind::key_custom:
      return "key_custom";
    case Warning::Kind::undecodable_value:
      return "undecodable_value";
    case Warning::Kind::entry_damaged:
      return "entry_damaged";
    case Warning::Kind::value_refused:
      return "value_refused";
    case Warning::Kind::degraded:
      return "degraded";
    case Warning::Kind::recovered:
      return "recovered";
    case Warning::Kind::breaker_opened:
      return "breaker_opened";
    case Warning::Kind::breaker_closed:
      return "breaker_closed";
    case Warning::Kind::reload_failed:
      return "reload_failed";
    case Warning::Kind::other:
      return "other";
    case Warning::Kind::lock_lost:
      return "lock_lost";
    case Warning::Kind::dump_failed:
      return "dump_failed";
  }
  return "unknown";
}

namespace {

// Whether a kind describes a state that comes and goes, so that one line is not enough.
bool comes_and_goes(Warning::Kind kind) noexcept {
  return kind == Warning::Kind::degraded || kind == Warning::Kind::recovered ||
         kind == Warning::Kind::breaker_opened || kind == Warning::Kind::breaker_closed ||
         kind == Warning::Kind::reload_failed || kind == Warning::Kind::dump_failed;
}

// Maximum of lines for one kind and alias within lines_window.
constexpr int most_lines = 8;
// Slightly less than the minute after which the core sums up failures.
constexpr std::chrono::seconds lines_window{50};

struct Shown {
  std::chrono::steady_clock::time_point since;
  int lines = 0;
};

enum class Showing : unsigned char { no, yes, last };

Showing note(const Warning& warning) {
  static NoDestructor<std::map<std::pair<std::string, Warning::Kind>, Shown>> all;
  const auto now = Clock::real().steady_now();
  const int most = comes_and_goes(warning.kind) ? most_lines : 1;
  const std::lock_guard lock(cold_mutex());
  Shown& shown = (*all)[{std::string(warning.alias), warning.kind}];
  if (shown.lines == 0 || (most > 1 && now - shown.since >= lines_window)) shown = {now, 0};
  if (shown.lines == most) return Showing::no;
  return ++shown.lines == most ? Showing::last : Showing::yes;
}

}  // namespace

void log_first_of_each_kind(const Warning& warning) {
  const Showing showing = note(warning);
  if (showing == Showing::no) return;
  std::string line = "polycache: ";
  if (!warning.alias.empty()) line.append(warning.alias).append(": ");
  line.append(warning.message);
  if (showing == Showing::last) {
    line.append(" (further warnings of the kind ").append(to_string(warning.kind));
    line += comes_and_goes(warning.kind) ? " are not shown for a while)" : " are not shown)";
  }
  line += '\n';
  std::clog << line << std::flush;
}

}  // namespace polycache
