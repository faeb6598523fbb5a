#include "polycache/backends/memcached.h"

#include <memory>

#include "session.h"
#include "shared.h"

namespace polycache::memcached {
namespace {

std::unique_ptr<BackendFactory> create(const OptionReader& options, const BackendContext& context) {
  return std::make_unique<Factory>(options, context);
}

}  // namespace

const PluginDescriptor plugin = backend_plugin("memcached", POLYCACHE_VERSION, create);

struct Factory::Impl {
  std::shared_ptr<Shared> shared;
  KeyRules rules;
};

Factory::Factory(const OptionReader& options, const BackendContext& context, KeyRules rules)
    : impl_(new Impl{std::make_shared<Shared>(options, context), rules}) {}

Factory::~Factory() = default;

std::unique_ptr<Backend> Factory::connect() { return std::make_unique<Session>(impl_->shared); }

StoreTraits Factory::traits() const noexcept {
  const auto& servers = impl_->shared->servers;
  return {.key_rules = impl_->rules,
          .breaks_circuits = true,
          .breaker = servers.size() == 1 ? &servers.front()->breaker() : nullptr};
}

}  // namespace polycache::memcached
