// One location: the name through which aliases share a store.

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

// An alias's use of a location, for the lifetime of its factory.
struct Claim {
  Settings settings;
  std::shared_ptr<Store> store;
};

// Stored in BackendContext::process_wide while an alias uses it. Thread-safe.
class Location {
 public:
  // The process-wide id of a location with that name and clock.
  static std::string id_of(std::string_view name, const Clock& clock);
  static std::shared_ptr<Location> named(const std::string& id, const BackendContext& context);

  Location(const Clock& clock, ForkGuard& fork_guard) : clock_(clock), fork_guard_(fork_guard) {}

  // Returns the store for an alias with these settings: the existing one, or a new one. There are
  // two only while a reconfiguration changes the limits, since all configured aliases agree
  // (BackendContext::agree).
  std::shared_ptr<const Claim> claim(const Settings& settings);

  // The claim is in use: its store becomes the location's store.
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
