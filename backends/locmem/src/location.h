// One location: the name through which aliases share a store.

#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "fork_guard.h"
#include "persistence.h"
#include "polycache/author/backend.h"
#include "polycache/author/spin_lock.h"
#include "settings.h"
#include "store.h"

namespace polycache::locmem {

// An alias's use of a location, for the lifetime of its factory.
struct Claim {
  Settings settings;
  std::shared_ptr<Store> store;
  std::chrono::milliseconds interval{};           // between two saves
  std::shared_ptr<Persistence> persistence = {};  // null: the store is not saved
  std::shared_ptr<const Report> report = {};      // where its warnings go
  std::string problem = {};                       // why a dump was not loaded, if so
};

// Stored in BackendContext::process_wide while an alias uses it. Thread-safe.
class Location final : public Forkable {
 public:
  // The process-wide id of a location with that name and clock.
  static std::string id_of(std::string_view name, const Clock& clock);
  static std::shared_ptr<Location> named(const std::string& id, const BackendContext& context);

  Location(const Clock& clock, ForkGuard& fork_guard) : clock_(clock), fork_guard_(fork_guard) {
    fork_guard_.add_outer(*this);
  }
  Location(const Location&) = delete;
  Location& operator=(const Location&) = delete;
  ~Location() { fork_guard_.remove_outer(*this); }

  // Returns the store for an alias with these settings: the existing one, or a new one. There are
  // two only while a reconfiguration changes the limits, since all configured aliases agree
  // (BackendContext::agree).
  // A new store is loaded from its file.
  std::shared_ptr<const Claim> claim(const Settings& settings, const Persistent& persistent,
                                     std::shared_ptr<const Report> report);

  // The claim ends. If it was the last of its file, saves the store, and returns why it could not.
  std::string leave(std::shared_ptr<const Claim> claim);

  // The claim is in use: its store becomes the location's store.
  void keep(const Claim& claim);

  void lock_for_fork() noexcept override { mutex_.lock(); }
  void unlock_after_fork() noexcept override { mutex_.unlock(); }

 private:
  std::shared_ptr<Persistence> persistence_of(const std::string& file);

  const Clock& clock_;
  ForkGuard& fork_guard_;

  SpinLock mutex_;  // guards what follows
  std::vector<std::weak_ptr<const Claim>> claims_;
  Settings kept_settings_;
  std::shared_ptr<Store> kept_;
};

}  // namespace polycache::locmem
