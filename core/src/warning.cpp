#include "polycache/warning.h"

#include <iostream>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "cold_mutex.h"
#include "no_destructor.h"

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
    case Warning::Kind::other:
      return "other";
  }
  return "unknown";
}

void log_first_of_each_kind(const Warning& warning) {
  static NoDestructor<std::set<std::pair<std::string, Warning::Kind>>> seen;
  {
    const std::lock_guard lock(cold_mutex());
    if (!seen->emplace(std::string(warning.alias), warning.kind).second) return;
  }
  std::string line = "polycache: ";
  line.append(warning.alias).append(": ").append(warning.message);
  line += " (further warnings of the kind ";
  line.append(to_string(warning.kind)).append(" are not shown)\n");
  std::clog << line << std::flush;
}

}  // namespace polycache
