#include "section.h"

#include <exception>
#include <string>
#include <utility>

#include "polycache/author/text.h"
#include "polycache/registry.h"
#include "polycache/section.h"

namespace polycache::detail {
namespace {

constexpr std::string_view locks_section = "locks";
constexpr std::string_view defaults_section = "lock_defaults";

LockSettings read_settings(const SectionReader& section, LockSettings settings) {
  settings.lease = section.duration("lease", settings.lease);
  settings.renew = section.boolean("renew", settings.renew);
  const bool accepts = settings.evicting_store == EvictingStore::accept;
  settings.evicting_store = section.choice("evicting_store", {"refuse", "accept"},
                                           accepts ? "accept" : "refuse") == "accept"
                                ? EvictingStore::accept
                                : EvictingStore::refuse;
  settings.cache = section.string("cache", settings.cache);
  return settings;
}

// Of all names, so that each problem is found; returns those of one.
LockSettings read_locks(const SectionReader& section, const LockSettings& defaults,
                        std::string_view name) {
  LockSettings wanted = defaults;
  for (const SectionReader& lock : section.objects()) {
    if (lock.name().starts_with('[')) {
      lock.reject("", "a list names no locks; give an object such as {\"report:42\": {...}}");
    }
    const LockSettings settings = read_settings(lock, defaults);
    if (lock.name() == name) wanted = settings;
  }
  return wanted;
}

// Before main(), so that a registry that is made there accepts the sections. If the program has
// claimed a name, it reads that section itself.
void claim(std::string_view name, SectionCheck check) noexcept {
  try {
    register_section(std::string(name), std::move(check));
  } catch (const std::exception&) {  // a program that starts has no other way to hear of it
  }
}
[[maybe_unused]] const bool is_claimed = [] {
  claim(locks_section,
        [](SectionReader& section) { static_cast<void>(read_locks(section, {}, "")); });
  claim(defaults_section,
        [](SectionReader& section) { static_cast<void>(read_settings(section, {})); });
  return true;
}();

}  // namespace

LockSettings lock_settings(const LockOptions& options, const CacheRegistry* registry,
                           std::string_view name) {
  LockSettings settings;
  if (registry != nullptr) {
    SectionReader defaults = registry->section(defaults_section);
    settings = read_settings(defaults, settings);
    defaults.finish();
    if (SectionReader locks = registry->section(locks_section); locks.exists()) {
      settings = read_locks(locks, settings, name);
      locks.finish();
    }
  }
  if (options.lease) settings.lease = *options.lease;
  if (options.renew) settings.renew = *options.renew;
  if (options.evicting_store) settings.evicting_store = *options.evicting_store;
  if (options.cache) settings.cache = *options.cache;
  return settings;
}

}  // namespace polycache::detail
