// The sections "loaders" and "loader_defaults" of a configuration.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "polycache/loader_options.h"
#include "polycache/section.h"

namespace polycache::detail {

inline constexpr std::string_view loaders_section = "loaders";
inline constexpr std::string_view defaults_section = "loader_defaults";

struct DeclaredLoader {
  SectionReader section;  // for problems
  std::string label;
  std::string getter;
  LoaderOptions options;
};

// Record problems in the section.
LoaderOptions read_loader_options(const SectionReader& section, LoaderOptions defaults);
std::vector<DeclaredLoader> read_loaders(const SectionReader& section,
                                         const LoaderOptions& defaults);

}  // namespace polycache::detail
