#include "polycache/backends/locmem.h"

#include <string>
#include <utility>
#include <vector>

#include "location.h"
#include "persistence.h"
#include "polycache/abi.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "session.h"
#include "settings.h"

namespace polycache::locmem {
namespace {

std::unique_ptr<BackendFactory> create(const OptionReader& options, const BackendContext& context) {
  return std::make_unique<Factory>(options, context);
}

void warn(const Report& report, const std::string& problem) {
  if (report && !problem.empty()) {
    report({.kind = Warning::Kind::dump_failed, .message = problem});
  }
}

std::string location_name(const OptionReader& options) {
  if (options.location().size() > 1) {
    options.reject_location("expected one location, the name of a store");
  }
  return options.location().empty() ? std::string() : options.location().front();
}

}  // namespace

const PluginDescriptor plugin = backend_plugin("locmem", POLYCACHE_VERSION, create);

struct Factory::Impl final : private MaintenanceExtension, private DumpExtension {
  MaintenanceExtension& maintenance() noexcept { return *this; }
  DumpExtension& dump() noexcept { return *this; }

  KeyRules rules = KeyRules::portable;
  std::shared_ptr<Location> location;
  std::shared_ptr<const Claim> claim;
  std::shared_ptr<const Shared> sessions;

 private:
  std::size_t expire() override { return claim->store->expire(); }
  std::size_t cull() override { return 0; }  // the limits always hold
  std::optional<std::uint64_t> volume() override { return claim->store->statistics().bytes; }
  Counts counts() override { return claim->store->counts(); }
  std::uint64_t save() override;
};

std::uint64_t Factory::Impl::save() {
  if (!claim->persistence) {
    throw BackendError(BackendError::Kind::unsupported, "",
                       "no file to save to is configured; set the option \"persist\" to one");
  }
  location->keep(*claim);
  return claim->persistence->save();
}

Factory::Factory(const OptionReader& options, const BackendContext& context, KeyRules rules)
    : impl_(std::make_unique<Impl>()) {
  const std::string name = location_name(options);
  const Settings settings = Settings::read(options);
  const std::string id = Location::id_of(name, context.clock);
  const Persistent persistent = Persistent::read(options);
  const std::string place = "the locmem location " + quote(without_credentials(name));
  std::vector<SharedOption> shared = settings.shared();
  persistent.add_to(shared);
  context.agree(id, place, shared);
  if (!persistent.file.empty()) {
    const SharedOption owner{"persist", "the file of " + place};
    context.agree("locmem/dump/1:" + persistent.file, "the dump " + quote_path(persistent.file),
                  {&owner, 1});
  }
  impl_->rules = rules;
  impl_->location = Location::named(id, context);
  impl_->claim =
      impl_->location->claim(settings, persistent, std::make_shared<const Report>(context.report));
  impl_->sessions = std::make_shared<const Shared>(
      Shared{std::string(context.alias), context.report, impl_->claim->store});
  warn(context.report, impl_->claim->problem);
}

Factory::~Factory() {
  const auto report = impl_->claim->report;
  impl_->sessions.reset();
  const std::string problem = impl_->location->leave(std::exchange(impl_->claim, nullptr));
  warn(*report, problem);
}

std::unique_ptr<Backend> Factory::connect() {
  impl_->location->keep(*impl_->claim);
  return std::make_unique<Session>(impl_->sessions);
}

void Factory::on_removal(RemovalListener listener) {
  impl_->claim->store->listen(std::move(listener));
}

Statistics Factory::statistics() const { return impl_->claim->store->statistics(); }

void* Factory::extension(std::string_view id) noexcept {
  if (id == MaintenanceExtension::id) return &impl_->maintenance();
  if (id == DumpExtension::id) return &impl_->dump();
  return nullptr;
}

StoreTraits Factory::traits() const noexcept {
  return {.key_rules = impl_->rules, .is_private = true, .reads_latest = true};
}

}  // namespace polycache::locmem
