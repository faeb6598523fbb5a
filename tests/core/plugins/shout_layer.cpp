// A layer as small as one can be: what is written arrives in upper case, with the option
// "mark" at its end. In this folder it is built as the plugin polycache_shout.so.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "polycache/author/layer.h"
#include "polycache/author/plugin.h"

namespace shout {
namespace {

std::string louder(std::string_view value, std::string_view mark) {
  std::string out(value);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return out.append(mark);
}

class Shout final : public polycache::Layer {
 public:
  Shout(std::unique_ptr<polycache::Backend> inner, std::string mark)
      : Layer(std::move(inner)), mark_(std::move(mark)) {}

  bool put(std::string_view key, std::string_view value, polycache::Ttl ttl,
           polycache::PutMode mode) override {
    return inner().put(key, louder(value, mark_), ttl, mode);
  }
  void put_many(std::span<const polycache::Item> items, polycache::PutMode mode,
                polycache::IndexSink on_failure) override {
    std::vector<std::string> values;
    values.reserve(items.size());
    for (const polycache::Item& item : items) values.push_back(louder(item.value, mark_));
    std::vector<polycache::Item> louder_items(items.begin(), items.end());
    for (std::size_t i = 0; i < values.size(); ++i) louder_items[i].value = values[i];
    inner().put_many(louder_items, mode, on_failure);
  }

 private:
  std::string mark_;
};

class ShoutFactory final : public polycache::LayerFactory {
 public:
  ShoutFactory(std::shared_ptr<polycache::BackendFactory> inner, std::string mark)
      : LayerFactory(std::move(inner)), mark_(std::move(mark)) {}

 protected:
  std::unique_ptr<polycache::Backend> wrap(std::unique_ptr<polycache::Backend> session) override {
    return std::make_unique<Shout>(std::move(session), mark_);
  }

 private:
  std::string mark_;
};

std::unique_ptr<polycache::BackendFactory> create(const polycache::OptionReader& options,
                                                  const polycache::BackendContext& context) {
  return std::make_unique<ShoutFactory>(context.inner, options.string("mark", "!"));
}

constexpr polycache::PluginDescriptor plugin = polycache::layer_plugin("shout", "1.0", create);

}  // namespace
}  // namespace shout

POLYCACHE_PLUGIN(shout::plugin);
