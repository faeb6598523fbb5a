#include "registry/alias_problems.h"

#include <algorithm>
#include <charconv>

namespace polycache {

void AliasProblems::note(std::string_view member, std::string_view problem) {
  problems_.push_back({place_of(member), std::string(member), std::string(problem), false});
}

void AliasProblems::note_of_plugin(std::string_view member, std::string_view problem) {
  problems_.push_back({place_of(member), std::string(member), std::string(problem), true});
}

bool AliasProblems::only_plugins() const noexcept {
  return std::all_of(problems_.begin(), problems_.end(),
                     [](const Problem& problem) { return problem.plugin; });
}

void AliasProblems::add_to(ConfigProblems& problems) const {
  for (const Problem& problem : problems_) {
    int line = 0;
    const std::size_t colon = problem.place.rfind(':');
    if (colon != std::string::npos) {
      std::from_chars(problem.place.data() + colon + 1, problem.place.data() + problem.place.size(),
                      line);
    }
    problems.add(problem.place, problem.member, problem.text, line);
  }
}

// The place of a member; if it is missing, the place of the object that should contain it.
std::string AliasProblems::place_of(std::string_view member) const {
  for (;;) {
    const auto place = config_.places.find(member);
    if (place != config_.places.end()) return place->second;
    const std::size_t dot = member.rfind('.');
    if (dot == std::string_view::npos) return "";
    member = member.substr(0, dot);
  }
}

}  // namespace polycache
