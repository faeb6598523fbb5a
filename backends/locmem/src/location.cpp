#include "location.h"

#include <utility>

namespace polycache::locmem {

std::string Location::id_of(std::string_view name, const Clock& clock) {
  // The clock is part of the name: deadlines by one clock are meaningless to another.
  return "locmem/1:" + std::string(name) + "@" + std::to_string(clock.identity());
}

std::shared_ptr<Location> Location::named(const std::string& id, const BackendContext& context) {
  ForkGuard& fork_guard = ForkGuard::of(context);
  const auto make = [&]() -> std::shared_ptr<void> {
    return std::make_shared<Location>(context.clock, fork_guard);
  };
  return std::static_pointer_cast<Location>(context.process_wide(id, make));
}

// REQUIRES: mutex_ is held.
std::shared_ptr<Persistence> Location::persistence_of(const std::string& file) {
  for (const auto& weak : claims_) {
    const auto other = weak.lock();
    if (other && other->persistence && other->persistence->file() == file &&
        other->persistence->is_usable()) {
      return other->persistence;
    }
  }
  return std::make_shared<Persistence>(file, clock_, fork_guard_);
}

std::shared_ptr<const Claim> Location::claim(const Settings& settings, const Persistent& persistent,
                                             std::shared_ptr<const Report> report) {
  const std::lock_guard lock(mutex_);
  std::erase_if(claims_, [](const auto& claim) { return claim.expired(); });
  std::shared_ptr<Store> store;
  for (const auto& weak : claims_) {
    const auto other = weak.lock();
    if (other && other->settings == settings) store = other->store;
  }
  if (!store && kept_ && kept_settings_ == settings) store = kept_;
  const bool is_new = !store;
  if (is_new) store = std::make_shared<Store>(settings, clock_, fork_guard_);
  Claim fresh{.settings = settings,
              .store = std::move(store),
              .interval = persistent.interval,
              .report = std::move(report)};
  if (!persistent.file.empty()) {
    fresh.persistence = persistence_of(persistent.file);
    if (is_new) fresh.problem = fresh.persistence->load(*fresh.store);
  }
  auto claim = std::make_shared<const Claim>(std::move(fresh));
  claims_.push_back(claim);
  return claim;
}

std::string Location::leave(std::shared_ptr<const Claim> claim) {
  const std::shared_ptr<Persistence> persistence = claim->persistence;
  const std::lock_guard lock(mutex_);
  claim.reset();
  std::erase_if(claims_, [](const auto& other) { return other.expired(); });
  if (!persistence) return {};
  for (const auto& weak : claims_) {
    const auto other = weak.lock();
    if (other && other->persistence == persistence) return {};
  }
  return persistence->close();
}

void Location::keep(const Claim& claim) {
  const std::lock_guard lock(mutex_);
  if (claim.persistence) claim.persistence->use(claim.store, claim.interval, claim.report);
  if (kept_ == claim.store) return;
  kept_ = claim.store;
  kept_settings_ = claim.settings;
}

}  // namespace polycache::locmem
