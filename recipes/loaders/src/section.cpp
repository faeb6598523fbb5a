#include "section.h"

#include <chrono>
#include <set>
#include <utility>

#include "polycache/author/text.h"
#include "polycache/detail/loader_state.h"

namespace polycache::detail {
namespace {

using std::chrono::milliseconds;

// The name under which a member is given, ours or the other one.
std::string_view spelling(const SectionReader& section, std::string_view ours,
                          std::string_view other) {
  if (!section.has(other)) return ours;
  if (section.has(ours)) {
    section.reject(other, "is another name of " + quote(ours) + "; give one of them");
  }
  return other;
}

}  // namespace

LoaderOptions read_loader_options(const SectionReader& section, LoaderOptions options) {
  const auto boolean = [&](std::string_view name, std::string_view other, bool& to) {
    to = section.boolean(other.empty() ? name : spelling(section, name, other), to);
  };
  const auto duration = [&](std::string_view name, milliseconds& to, milliseconds least) {
    to = section.duration(name, to, least);
  };
  options.cache = section.string("cache", options.cache);
  duration("expires", options.expires, milliseconds(1));
  duration("stale", options.stale, milliseconds(0));
  boolean("concurrent", "is_concurrent", options.concurrent);
  options.ticks = static_cast<int>(
      section.integer(spelling(section, "ticks", "tick_amount"), options.ticks, 0, 1'000'000));
  duration("tick", options.tick, milliseconds(1));
  duration("lease", options.lease, milliseconds(0));
  boolean("relevance", "relevance_invalidation", options.relevance);
  duration("relevance_expires", options.relevance_expires, milliseconds(1));
  boolean("cached_entity", "", options.cached_entity);
  boolean("log_in_background", "delay_logging", options.log_in_background);
  options.log_size = static_cast<int>(section.integer("log", options.log_size, 0, 1'000'000));
  options.log_cache = section.string("log_cache", options.log_cache);
  boolean("delay_invalidation", "", options.delay_invalidation);
  if (section.has("tags")) options.tags = section.strings("tags");
  return options;
}

std::vector<DeclaredLoader> read_loaders(const SectionReader& section,
                                         const LoaderOptions& defaults) {
  std::vector<DeclaredLoader> loaders;
  std::set<std::string> labels;
  for (const SectionReader& one : section.objects()) {
    DeclaredLoader loader{
        .section = one, .label = one.string("label", ""), .getter = {}, .options = {}};
    if (loader.label.empty()) loader.label = one.name();
    loader.getter = one.string("structure_getter", "");
    loader.options = read_loader_options(one, defaults);
    if (const std::string key_gen = one.string("key_gen", ""); !key_gen.empty()) {
      loader.options.key_gen = key_gen;
    }
    const std::string problem = problem_of_label(loader.label);
    if (!problem.empty()) one.reject("label", problem + ": " + quote(loader.label));
    if (!labels.insert(loader.label).second) {
      one.reject("label",
                 "the label " + quote(loader.label) + " is used twice; choose another one");
    }
    if (loader.getter.empty()) {
      one.reject("structure_getter",
                 "is needed: the name of a function, such as \"./libshop.so:filter_foos\"");
    }
    loaders.push_back(std::move(loader));
  }
  return loaders;
}

}  // namespace polycache::detail
