#include "polycache/backends/redis.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "session.h"
#include "shared.h"

namespace polycache::redis {

struct Factory::Impl final : private MaintenanceExtension {
  Impl(std::shared_ptr<Shared> its_shared, KeyRules its_rules) noexcept
      : shared(std::move(its_shared)), rules(its_rules) {}
  MaintenanceExtension& maintenance() noexcept { return *this; }

  const std::shared_ptr<Shared> shared;
  const KeyRules rules;

 private:
  // The servers expire and evict by themselves.
  std::size_t expire() override { return 0; }
  std::size_t cull() override { return 0; }
  std::optional<std::uint64_t> volume() override { return Session(shared).used_memory(); }
  Counts counts() override { return {.total = Session(shared).key_count()}; }
};

Factory::Factory(const OptionReader& options, const BackendContext& context, KeyRules rules)
    : impl_(std::make_unique<Impl>(std::make_shared<Shared>(options, context), rules)) {}

Factory::~Factory() = default;

std::unique_ptr<Backend> Factory::connect() { return std::make_unique<Session>(impl_->shared); }

void* Factory::extension(std::string_view id) noexcept {
  return id == MaintenanceExtension::id ? &impl_->maintenance() : nullptr;
}

// With one server, its breaker is the store's.
StoreTraits Factory::traits() const noexcept {
  const auto& servers = impl_->shared->servers;
  return {.key_rules = impl_->rules,
          .breaks_circuits = true,
          .breaker = servers.size() == 1 ? &servers.front()->breaker() : nullptr,
          .reads_latest = servers.size() == 1};  // the others are replicas
}

constinit const PluginDescriptor plugin =
    backend_plugin("redis", POLYCACHE_VERSION,
                   [](const OptionReader& options,
                      const BackendContext& context) -> std::unique_ptr<BackendFactory> {
                     return std::make_unique<Factory>(options, context);
                   });

}  // namespace polycache::redis
