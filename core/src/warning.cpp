#include "polycache/warning.h"

#include <chrono>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "cold_mutex.h"
#include "no_destructor.h"
#include "polycache/clock.h"

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
  }
  return "unknown";
}

namespace {

// Whether a kind speaks of a state that comes and goes, so that once is not enough.
bool comes_and_goes(Warning::Kind kind) noexcept {
  return kind == Warning::Kind::degraded || kind == Warning::Kind::recovered ||
         kind == Warning::Kind::breaker_opened || kind == Warning::Kind::breaker_closed ||
         kind == Warning::Kind::reload_failed;
}

bool is_due(const Warning& warning) {
  using Moment = std::chrono::steady_clock::time_point;
  static NoDestructor<std::map<std::pair<std::string, Warning::Kind>, Moment>> shown;
  constexpr std::chrono::minutes kPause{1};
  const Moment now = Clock::real().steady_now();
  const std::lock_guard lock(cold_mutex());
  const auto [it, first] = shown->try_emplace({std::string(warning.alias), warning.kind}, now);
  if (first) return true;
  if (!comes_and_goes(warning.kind) || now - it->second < kPause) return false;
  it->second = now;
  return true;
}

}  // namespace

void log_first_of_each_kind(const Warning& warning) {
  if (!is_due(warning)) return;
  std::string line = "polycache: ";
  line.append(warning.alias).append(": ").append(warning.message);
  line += " (further warnings of the kind ";
  line.append(to_string(warning.kind)).append(" are not shown");
  line += comes_and_goes(warning.kind) ? " for a minute)\n" : ")\n";
  std::clog << line << std::flush;
}

}  // namespace polycache
