// A composite of two aliases: keys that contain "hot" go to "near", others to "far".

#include <polycache/author/plugin.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "services.h"
#include "sham_extension.h"

namespace {

using polycache::Backend;
using polycache::BackendFactory;

class PairSession final : public Backend, private growth::PartsExtension {
 public:
  PairSession(std::unique_ptr<Backend> near, std::unique_ptr<Backend> far)
      : near_(std::move(near)), far_(std::move(far)) {}

  bool get(std::string_view key, polycache::ValueSink sink) override {
    return at(key).get(key, sink);
  }
  bool put(std::string_view key, std::string_view value, polycache::Ttl ttl,
           polycache::PutMode mode) override {
    return at(key).put(key, value, ttl, mode);
  }
  bool touch(std::string_view key, polycache::Ttl ttl, polycache::ValueSink head) override {
    return at(key).touch(key, ttl, head);
  }
  bool erase(std::string_view key) override { return at(key).erase(key); }
  void clear() override {
    near_->clear();
    far_->clear();
  }
  void* extension(std::string_view id) noexcept override {
    return id == growth::PartsExtension::id ? static_cast<growth::PartsExtension*>(this) : nullptr;
  }

 private:
  static bool is_hot(std::string_view key) { return key.find("hot") != std::string_view::npos; }
  std::string_view part_of(std::string_view key) override { return is_hot(key) ? "near" : "far"; }
  Backend& at(std::string_view key) { return is_hot(key) ? *near_ : *far_; }

  std::unique_ptr<Backend> near_, far_;
};

class PairFactory final : public BackendFactory, private growth::SessionCountExtension {
 public:
  PairFactory(std::shared_ptr<BackendFactory> near, std::shared_ptr<BackendFactory> far)
      : near_(std::move(near)), far_(std::move(far)) {}

  std::unique_ptr<Backend> connect() override {
    sessions_.fetch_add(1, std::memory_order_relaxed);
    return std::make_unique<PairSession>(near_->connect(), far_->connect());
  }
  void* extension(std::string_view id) noexcept override {
    return id == growth::SessionCountExtension::id
               ? static_cast<growth::SessionCountExtension*>(this)
               : nullptr;
  }

 private:
  std::size_t sessions() override { return sessions_.load(std::memory_order_relaxed); }

  std::shared_ptr<BackendFactory> near_, far_;
  std::atomic<std::size_t> sessions_{0};
};

std::unique_ptr<BackendFactory> create(const polycache::OptionReader& options,
                                       const polycache::BackendContext& context) {
  auto factory = std::make_unique<PairFactory>(context.sibling(options.string("near", "near")),
                                               context.sibling(options.string("far", "far")));
  // For a recipe that finds it by name, without a member of its own in the context.
  if (const auto count = context.service<growth::FactoryCount>()) ++count->made;
  return factory;
}

constexpr auto plugin = polycache::backend_plugin("growth_pair", "1.0", create);

}  // namespace

POLYCACHE_PLUGIN(plugin);
