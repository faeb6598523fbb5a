// The arguments of a create function, for tests that use a backend without a registry.
//
//   polycache::testing::TestContext context(clock);
//   auto factory = polycache::testing::make_factory(polycache::locmem::plugin, context,
//                                                   {.location = {"here"}});
//   auto session = factory->connect();

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"
#include "polycache/error.h"

namespace polycache::testing {

struct TestOptions {
  std::vector<std::string> location = {};
  OptionMap options = {};
};

// Keeps the process-wide objects and the reports of the factories made with it. Must outlive
// them.
class TestContext {
 public:
  explicit TestContext(const Clock& clock = Clock::real()) : clock_(clock) {}

  const Clock& clock() const noexcept { return clock_; }

  std::vector<std::string> warnings() const {
    const std::lock_guard lock(mutex_);
    return warnings_;
  }

  // Throws ConfigError for wrong options, unknown ones included.
  std::unique_ptr<BackendFactory> make(const PluginDescriptor& plugin, const TestOptions& test,
                                       std::shared_ptr<BackendFactory> inner = nullptr) {
    return create<BackendFactory>(plugin.payload.create, test, std::move(inner));
  }

  // The same for a transform, without a cache in front of it.
  std::unique_ptr<Transform> make_transform(const PluginDescriptor& plugin,
                                            const OptionMap& options = {}) {
    return create<Transform>(plugin.payload.transform, {.options = options}, nullptr);
  }

 private:
  template <class Product, class Create>
  std::unique_ptr<Product> create(Create create_product, const TestOptions& test,
                                  std::shared_ptr<BackendFactory> inner) {
    const OptionReader reader("caches.test", test.location, test.options);
    const auto no_sibling = [](std::string_view) -> std::shared_ptr<BackendFactory> {
      throw ConfigError("there is no other alias in this test");
    };
    const auto process_wide = [this](std::string_view id,
                                     FunctionRef<std::shared_ptr<void>()> make_object) {
      const std::lock_guard lock(mutex_);
      auto& slot = objects_[std::string(id)];
      if (!slot) slot = make_object();
      return slot;
    };
    const BackendContext context{.alias = "test",
                                 .clock = clock_,
                                 .key_head = ":1:",
                                 .inner = std::move(inner),
                                 .sibling = no_sibling,
                                 .report =
                                     [this](const Warning& warning) {
                                       const std::lock_guard lock(mutex_);
                                       warnings_.emplace_back(warning.message);
                                     },
                                 .process_wide = process_wide};
    auto product = create_product(reader, context);
    reader.reject_unread();
    return product;
  }

  const Clock& clock_;
  mutable std::mutex mutex_;  // guards the members below
  std::vector<std::string> warnings_;
  std::map<std::string, std::shared_ptr<void>> objects_;
};

inline std::unique_ptr<BackendFactory> make_factory(const PluginDescriptor& plugin,
                                                    TestContext& context,
                                                    const TestOptions& options = {}) {
  return context.make(plugin, options);
}

}  // namespace polycache::testing
