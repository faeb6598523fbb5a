// What another alias gets of a store that has no circuit breaker of its own (sibling() of a
// composite): the same factory with the alias's breaker around its sessions. The alias itself
// checks its breaker in the front (failsafe.h), so that its calls pay for no second session.

#pragma once

#include <memory>
#include <string>

#include "polycache/author/around_layer.h"
#include "polycache/net/circuit_breaker.h"

namespace polycache {

class BreakingFactory final : public AroundLayerFactory {
 public:
  BreakingFactory(std::string alias, std::shared_ptr<BackendFactory> inner,
                  std::shared_ptr<CircuitBreaker> breaker) noexcept
      : AroundLayerFactory(std::move(inner)),
        alias_(std::move(alias)),
        breaker_(std::move(breaker)) {}

  StoreTraits traits() const noexcept override;

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override;

 private:
  const std::string alias_;
  const std::shared_ptr<CircuitBreaker> breaker_;
};

}  // namespace polycache
