#include "location.h"

#include <utility>

namespace polycache::locmem {

std::shared_ptr<Location> Location::named(std::string_view name, const BackendContext& context) {
  ForkGuard& fork_guard = ForkGuard::of(context);
  // The clock is part of the name: deadlines by one clock mean nothing to another.
  const std::string id =
      "locmem/1:" + std::string(name) + "@" + std::to_string(context.clock.identity());
  const auto make = [&]() -> std::shared_ptr<void> {
    return std::make_shared<Location>(context.clock, fork_guard);
  };
  return std::static_pointer_cast<Location>(context.process_wide(id, make));
}

std::shared_ptr<const Claim> Location::claim(std::string_view alias, const Settings& settings,
                                             std::string& conflict) {
  const std::lock_guard lock(mutex_);
  std::erase_if(claims_, [](const auto& claim) { return claim.expired(); });
  std::shared_ptr<Store> store;
  for (const auto& weak : claims_) {
    const auto other = weak.lock();
    if (!other) continue;
    if (other->settings == settings) {
      store = other->store;
    } else if (other->alias != alias) {
      conflict = "alias \"" + other->alias + "\" has " + other->settings.text() + "; alias \"" +
                 std::string(alias) + "\" has " + settings.text();
      return nullptr;
    }
  }
  if (!store && kept_ && kept_settings_ == settings) store = kept_;
  if (!store) store = std::make_shared<Store>(settings, clock_, fork_guard_);
  auto claim = std::make_shared<const Claim>(Claim{std::string(alias), settings, std::move(store)});
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
