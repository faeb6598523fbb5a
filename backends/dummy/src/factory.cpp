#include "polycache/backends/dummy.h"

#include "polycache/abi.h"

namespace polycache::dummy {
namespace {

class Session final : public Backend {
 public:
  bool get(std::string_view, ValueSink) override { return false; }
  // No entry ever exists, so only a put that requires one fails.
  bool put(std::string_view, std::string_view, Ttl, PutMode mode) override {
    return mode != PutMode::if_present;
  }
  bool touch(std::string_view, Ttl, ValueSink) override { return false; }
  bool erase(std::string_view) override { return false; }
  void clear() override {}

  bool contains(std::string_view, ValueSink) override { return false; }
  std::optional<std::int64_t> incr(std::string_view, std::int64_t) override { return std::nullopt; }
  void get_many(std::span<const std::string_view>, IndexedValueSink) override {}
  std::size_t erase_many(std::span<const std::string_view>) override { return 0; }
};

std::unique_ptr<BackendFactory> create(const OptionReader& options, const BackendContext& context) {
  return std::make_unique<Factory>(options, context);
}

}  // namespace

const PluginDescriptor plugin = backend_plugin("dummy", POLYCACHE_VERSION, create);

Factory::Factory(const OptionReader&, const BackendContext&, KeyRules rules) : rules_(rules) {}

Factory::~Factory() = default;

std::unique_ptr<Backend> Factory::connect() { return std::make_unique<Session>(); }

StoreTraits Factory::traits() const noexcept { return {.key_rules = rules_}; }

}  // namespace polycache::dummy
