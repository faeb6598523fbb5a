// The sections of a configuration: who claims them, and whether their owners accept them.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/problems.h"
#include "polycache/section.h"

namespace polycache {

using SectionChecks = std::map<std::string, SectionCheck, std::less<>>;

// Checks every section of a configuration, which `claimed` and register_section() claim. Reports
// those that are not claimed, unless `allow_unclaimed`.
ConfigProblems check_sections(const Config& config, const SectionChecks& claimed,
                              bool allow_unclaimed);

}  // namespace polycache
