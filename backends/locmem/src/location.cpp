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

std::shared_ptr<const Claim> Location::claim(const Settings& settings) {
  const std::lock_guard lock(mutex_);
  std::erase_if(claims_, [](const auto& claim) { return claim.expired(); });
  std::shared_ptr<Store> store;
  for (const auto& weak : claims_) {
    const auto other = weak.lock();
    if (other && other->settings == settings) store = other->store;
  }
  if (!store && kept_ && kept_settings_ == settings) store = kept_;
  if (!store) store = std::make_shared<Store>(settings, clock_, fork_guard_);
  auto claim = std::make_shared<const Claim>(Claim{settings, std::move(store)});
  claims_.push_back(claim);
  return claim;
}

void Location::keep(const Claim& claim) {
  const std::lock_guard lock(mutex_);
  if (kept_ == claim.store) return;
  kept_ = claim.store;
  kept_settings_ = claim.settings;
}

}  // namespace polycache::locmem
