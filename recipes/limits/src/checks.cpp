#include "checks.h"

#include "polycache/author/text.h"

namespace polycache::limits {

ValueError refused(std::string_view kind, std::string_view name, const std::string& problem) {
  return ValueError(std::string(kind) + ' ' + quote(name) + ": " + problem);
}

void check_name(std::string_view kind, std::string_view name) {
  if (!name.empty()) return;
  throw refused(kind, name, "the name is empty; it begins the keys, so give one such as \"api\"");
}

void check_rate(std::string_view kind, std::string_view name, std::int64_t limit,
                std::chrono::milliseconds period) {
  constexpr std::int64_t most = 1'000'000'000;
  constexpr std::chrono::milliseconds longest = std::chrono::hours(24 * 365 * 10);
  if (limit < 1 || limit > most) {
    throw refused(
        kind, name,
        "a limit of " + std::to_string(limit) + "; give one from 1 to " + std::to_string(most));
  }
  if (period.count() < 1 || period > longest) {
    throw refused(
        kind, name,
        "a period of " + std::to_string(period.count()) + " ms; give one from 1 ms to ten years");
  }
}

}  // namespace polycache::limits
