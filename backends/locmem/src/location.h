// One location: the name that aliases share a store by.

#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/backend.h"
#include "settings.h"
#include "store.h"

namespace polycache::locmem {

// An alias that uses a location, for as long as its factory lives.
struct Claim {
  std::string alias;
  Settings settings;
  std::shared_ptr<Store> store;
};

// Lives in BackendContext::process_wide. Thread-safe.
class Location {
 public:
  // The one of that name and clock in this process.
  static std::shared_ptr<Location> named(std::string_view name, const BackendContext& context);

  Location(const Clock& clock, ForkGuard& fork_guard) : clock_(clock), fork_guard_(fork_guard) {}

  // The store for an alias with these settings: the one that is there, or a new one if
  // nobody uses the location any more with other settings but the alias itself, which is
  // what a reconfiguration does. Null if another alias does; `conflict` is then who and how.
  std::shared_ptr<const Claim> claim(std::string_view alias, const Settings& settings,
                                     std::string& conflict);

  // The claim is in use: its store is the one to keep when all claims are gone.
  void keep(const Claim& claim);

 private:
  const Clock& clock_;
  ForkGuard& fork_guard_;

  std::mutex mutex_;  // guards what follows
  std::vector<std::weak_ptr<const Claim>> claims_;
  Settings kept_settings_;
  std::shared_ptr<Store> kept_;
};

}  // namespace polycache::locmem
