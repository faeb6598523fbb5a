// A transparent layer: counts calls, for which it needs no function for any operation, and lets
// extensions through that it has never heard of.

#include <polycache/author/around_layer.h>
#include <polycache/author/plugin.h>

#include <memory>
#include <utility>

#include "services.h"

namespace {

class Counting final : public polycache::AroundLayer {
 public:
  Counting(std::unique_ptr<polycache::Backend> inner, std::shared_ptr<growth::CallCount> calls)
      : AroundLayer(std::move(inner)), calls_(std::move(calls)) {}
  polycache::StoreAnswer around(const polycache::StoreCall& call, polycache::StoreGo go) override {
    calls_->seen.fetch_add(1, std::memory_order_relaxed);
    return go(call.deliver);
  }

 private:
  std::shared_ptr<growth::CallCount> calls_;
};

class CountingFactory final : public polycache::AroundLayerFactory {
 public:
  CountingFactory(std::shared_ptr<polycache::BackendFactory> inner,
                  std::shared_ptr<growth::CallCount> calls)
      : AroundLayerFactory(std::move(inner)), calls_(std::move(calls)) {}

 protected:
  std::unique_ptr<polycache::Backend> wrap(std::unique_ptr<polycache::Backend> session) override {
    return std::make_unique<Counting>(std::move(session), calls_);
  }

 private:
  std::shared_ptr<growth::CallCount> calls_;
};

std::unique_ptr<polycache::BackendFactory> create(const polycache::OptionReader&,
                                                  const polycache::BackendContext& context) {
  auto calls = context.service<growth::CallCount>();
  if (!calls) calls = std::make_shared<growth::CallCount>();
  return std::make_unique<CountingFactory>(context.inner, std::move(calls));
}

constexpr auto plugin = polycache::layer_plugin("growth_layer", "1.0", create);

}  // namespace

POLYCACHE_PLUGIN(plugin);
