// A layer that overrides nothing changes nothing: stores pass the suite through it with their own
// quirks. That includes what depends on extensions, such as ttl, pop and erase_prefix.

#include "polycache/author/around_layer.h"

#include <memory>

#include "polycache/author/plugin.h"
#include "polycache/backends/dummy.h"
#include "polycache/backends/locmem.h"
#include "polycache/testing/backend_conformance.h"

namespace polycache::testing {
namespace {

class TransparentFactory final : public AroundLayerFactory {
 public:
  using AroundLayerFactory::AroundLayerFactory;

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<AroundLayer>(std::move(session), transparency());
  }
};

constexpr PluginDescriptor transparent = layer_plugin(
    "transparent", POLYCACHE_VERSION,
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<TransparentFactory>(context.inner);
    });

// Twice, because a layer wraps layers too.
StoreUnderTest through_layers(StoreUnderTest store, const PluginDescriptor& descriptor) {
  store.layers = {{.name = "transparent"}, {.name = "transparent"}};
  store.linked_plugins = {&descriptor, &transparent};
  return store;
}

INSTANTIATE_TEST_SUITE_P(AroundLocmem, BackendConformance,
                         ::testing::ValuesIn(conformance_cases(
                             through_layers({.name = "Layered",
                                             .backend = "locmem",
                                             .options = {{"max_bytes", std::string("8MiB")}},
                                             .quirks = {.shared_between_processes = false,
                                                        .has_tag_stamps = true,
                                                        .refuses_value_of = std::size_t{9} << 20U}},
                                            locmem::plugin))),
                         case_name);

INSTANTIATE_TEST_SUITE_P(AroundDummy, KeepsNothingConformance,
                         ::testing::ValuesIn(conformance_cases(through_layers(
                             {.name = "Layered", .backend = "dummy"}, dummy::plugin))),
                         case_name);

}  // namespace
}  // namespace polycache::testing
