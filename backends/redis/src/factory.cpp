#include "polycache/backends/redis.h"

#include <memory>

#include "session.h"
#include "shared.h"

namespace polycache::redis {

struct Factory::Impl {
  std::shared_ptr<Shared> shared;
  KeyRules rules;
};

Factory::Factory(const OptionReader& options, const BackendContext& context, KeyRules rules)
    : impl_(std::make_unique<Impl>(Impl{std::make_shared<Shared>(options, context), rules})) {}

Factory::~Factory() = default;

std::unique_ptr<Backend> Factory::connect() { return std::make_unique<Session>(impl_->shared); }

// With one server, its breaker is the store's.
StoreTraits Factory::traits() const noexcept {
  const auto& servers = impl_->shared->servers;
  return {.key_rules = impl_->rules,
          .breaks_circuits = true,
          .breaker = servers.size() == 1 ? &servers.front()->breaker() : nullptr};
}

constinit const PluginDescriptor plugin =
    backend_plugin("redis", POLYCACHE_VERSION,
                   [](const OptionReader& options,
                      const BackendContext& context) -> std::unique_ptr<BackendFactory> {
                     return std::make_unique<Factory>(options, context);
                   });

}  // namespace polycache::redis
