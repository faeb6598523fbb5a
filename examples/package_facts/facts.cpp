#include "facts.h"

#include <algorithm>
#include <unordered_set>

namespace package_facts {

namespace {

std::string to_text(const Alternatives& wanted) {
  std::string text;
  for (const Relation& relation : wanted) {
    if (!text.empty()) text += " | ";
    text += relation.name;
    if (!relation.comparison.empty())
      text += " (" + relation.comparison + " " + relation.version + ")";
  }
  return text;
}

void find_needs(const PackageDatabase& database, const Package& package, Facts& facts) {
  std::unordered_set<const Package*> seen{&package};  // packages may need each other
  std::vector<const Package*> open{&package};
  std::unordered_set<std::string> missing;
  while (!open.empty()) {
    const Package& current = *open.back();
    open.pop_back();
    facts.kibibytes += current.kibibytes;
    if (&current != &package) facts.needs.push_back(database.id(current));
    for (const Alternatives& wanted : current.needs) {
      const Package* const found = database.find(current, wanted);
      if (found == nullptr) {
        missing.insert(to_text(wanted));
      } else if (seen.insert(found).second) {
        open.push_back(found);
      }
    }
  }
  facts.missing.assign(missing.begin(), missing.end());
}

bool asks_for(const PackageDatabase& database, const Package& asker, const Package& package) {
  return std::any_of(asker.needs.begin(), asker.needs.end(), [&](const Alternatives& wanted) {
    return database.find(asker, wanted) == &package;
  });
}

}  // namespace

Facts find_facts(const PackageDatabase& database, const Package& package) {
  Facts facts;
  find_needs(database, package, facts);
  for (const Package& other : database.packages()) {
    if (&other != &package && asks_for(database, other, package))
      facts.needed_by.push_back(database.id(other));
  }
  std::sort(facts.needs.begin(), facts.needs.end());
  std::sort(facts.needed_by.begin(), facts.needed_by.end());
  std::sort(facts.missing.begin(), facts.missing.end());
  return facts;
}

}  // namespace package_facts
