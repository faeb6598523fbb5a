// One location: the name that aliases share a store by.

#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/backend.h"
#include "settings.h"
#include "store.h"

namespace polycache::locmem {

// An alias that uses a location, for as long as its factory lives.
struct Claim {
  Settings settings;
  std::shared_ptr<Store> store;
};

// Lives in BackendContext::process_wide, for as long as an alias uses it. Thread-safe.
class Location {
 public:
  // What a location of that name and clock is called in this process.
  static std::string id_of(std::string_view name, const Clock& clock);
  static std::shared_ptr<Location> named(const std::string& id, const BackendContext& context);

  Location(const Clock& clock, ForkGuard& fork_guard) : clock_(clock), fork_guard_(fork_guard) {}

  // The store for an alias with these settings: the one that is there, or a new one. There are
  // two only while a reconfiguration changes the limits, since all that is configured agrees
  // (BackendContext::agree).
  std::shared_ptr<const Claim> claim(const Settings& settings);

  // The claim is in use: its store is the one to keep while the location lives.
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
