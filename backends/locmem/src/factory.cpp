#include "polycache/backends/locmem.h"

#include <string>
#include <utility>

#include "location.h"
#include "polycache/abi.h"
#include "polycache/author/text.h"
#include "session.h"
#include "settings.h"

namespace polycache::locmem {
namespace {

std::unique_ptr<BackendFactory> create(const OptionReader& options, const BackendContext& context) {
  return std::make_unique<Factory>(options, context);
}

std::string location_name(const OptionReader& options) {
  if (options.location().size() > 1) {
    options.reject_location("expected one location, the name of a store");
  }
  return options.location().empty() ? std::string() : options.location().front();
}

}  // namespace

const PluginDescriptor plugin = backend_plugin("locmem", POLYCACHE_VERSION, create);

struct Factory::Impl final : private MaintenanceExtension {
  MaintenanceExtension& maintenance() noexcept { return *this; }

  KeyRules rules = KeyRules::portable;
  std::shared_ptr<Location> location;
  std::shared_ptr<const Claim> claim;
  std::shared_ptr<const Shared> sessions;

 private:
  std::size_t expire() override { return claim->store->expire(); }
  std::size_t cull() override { return 0; }  // the limits always hold
  std::optional<std::uint64_t> volume() override { return claim->store->statistics().bytes; }
  Counts counts() override { return claim->store->counts(); }
};

Factory::Factory(const OptionReader& options, const BackendContext& context, KeyRules rules)
    : impl_(std::make_unique<Impl>()) {
  const std::string name = location_name(options);
  const Settings settings = Settings::read(options);
  const std::string id = Location::id_of(name, context.clock);
  context.agree(id, "the locmem location " + quote(without_credentials(name)), settings.shared());
  impl_->rules = rules;
  impl_->location = Location::named(id, context);
  impl_->claim = impl_->location->claim(settings);
  impl_->sessions = std::make_shared<const Shared>(
      Shared{std::string(context.alias), context.report, impl_->claim->store});
}

Factory::~Factory() = default;

std::unique_ptr<Backend> Factory::connect() {
  impl_->location->keep(*impl_->claim);
  return std::make_unique<Session>(impl_->sessions);
}

void Factory::on_removal(RemovalListener listener) {
  impl_->claim->store->listen(std::move(listener));
}

Statistics Factory::statistics() const { return impl_->claim->store->statistics(); }

void* Factory::extension(std::string_view id) noexcept {
  return id == MaintenanceExtension::id ? &impl_->maintenance() : nullptr;
}

StoreTraits Factory::traits() const noexcept {
  return {.key_rules = impl_->rules, .is_private = true, .reads_latest = true};
}

}  // namespace polycache::locmem
