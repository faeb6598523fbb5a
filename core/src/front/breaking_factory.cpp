#include "front/breaking_factory.h"

#include <utility>

#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

class BreakingSession final : public AroundLayer {
 public:
  BreakingSession(std::unique_ptr<Backend> inner, std::string alias,
                  std::shared_ptr<CircuitBreaker> breaker)
      : AroundLayer(std::move(inner)), alias_(std::move(alias)), breaker_(std::move(breaker)) {}

  StoreAnswer around(const StoreCall& call, StoreGo go) override {
    if (call.op == StoreOp::check_health) return go(call.deliver);
    if (!breaker_->admit(call.access)) {
      throw BackendError(BackendError::Kind::unreachable, "",
                         "the store of the alias " + quote(alias_) +
                             " keeps failing and is not used for now (circuit breaker open, next "
                             "attempt in " +
                             std::to_string(breaker_->pause_left(call.access).count()) + " ms)");
    }
    try {
      const StoreAnswer answer = go(call.deliver);
      breaker_->succeeded(call.access);
      return answer;
    } catch (const BackendError& error) {
      breaker_->failed(call.access, error.kind());
      throw;
    } catch (...) {  // whatever it is, the store did answer
      breaker_->succeeded(call.access);
      throw;
    }
  }

 private:
  const std::string alias_;
  const std::shared_ptr<CircuitBreaker> breaker_;
};

}  // namespace

StoreTraits BreakingFactory::traits() const noexcept {
  StoreTraits traits = AroundLayerFactory::traits();
  traits.breaks_circuits = true;
  traits.breaker = breaker_.get();
  return traits;
}

std::unique_ptr<Backend> BreakingFactory::wrap(std::unique_ptr<Backend> session) {
  return std::make_unique<BreakingSession>(std::move(session), alias_, breaker_);
}

}  // namespace polycache
