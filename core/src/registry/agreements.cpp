#include "registry/agreements.h"

#include <map>
#include <mutex>
#include <utility>

#include "base/cold_mutex.h"
#include "base/no_destructor.h"

namespace polycache {
namespace {

struct Claim {
  std::weak_ptr<const Configuration> configuration;
  std::string alias;
  std::map<std::string, std::string, std::less<>> options;
};

using Claims = std::multimap<std::string, Claim, std::less<>>;

// By the id of what is shared. Guarded by cold_mutex().
Claims& all_claims() {
  static NoDestructor<Claims> claims;
  return *claims;
}

void compare(const Claim& other, const Configuration& theirs, const Configuration& ours,
             std::span<const SharedOption> options, std::vector<Disagreement>& differences) {
  if (&theirs != &ours && theirs.registry == ours.registry) return;
  for (const SharedOption& option : options) {
    const auto there = other.options.find(option.name);
    if (there == other.options.end() || there->second == option.value) continue;
    differences.push_back({.option = std::string(option.name),
                           .here = option.value,
                           .there = there->second,
                           .alias = other.alias,
                           .registry = &theirs == &ours ? "" : theirs.name});
  }
}

}  // namespace

std::vector<Disagreement> note_agreement(const std::shared_ptr<const Configuration>& configuration,
                                         std::string_view alias, std::string_view id,
                                         std::span<const SharedOption> options) {
  Claim mine{.configuration = configuration, .alias = std::string(alias), .options = {}};
  for (const SharedOption& option : options) {
    mine.options.emplace(std::string(option.name), option.value);
  }
  std::vector<Disagreement> differences;
  const std::lock_guard lock(cold_mutex());
  Claims& claims = all_claims();
  std::erase_if(claims, [](const auto& claim) { return claim.second.configuration.expired(); });
  const auto [first, last] = claims.equal_range(id);
  for (auto it = first; it != last; ++it) {
    if (const auto theirs = it->second.configuration.lock()) {
      compare(it->second, *theirs, *configuration, options, differences);
    }
  }
  if (differences.empty()) claims.emplace(std::string(id), std::move(mine));
  return differences;
}

}  // namespace polycache
