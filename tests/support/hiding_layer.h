// A layer that hides extensions of the store below it: what the library does without them.
//
//   {.name = "hiding"}                                                            hides all
//   {.name = "hiding", .options = {{"hides", std::string("polycache.renew/1")}}}
//   {.name = "hiding", .options = {{"shows", std::string("polycache.scan/1")}}}

#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/layer.h"
#include "polycache/author/plugin.h"

namespace polycache::testing {

class HidingLayer final : public LayerFactory {
 public:
  HidingLayer(std::shared_ptr<BackendFactory> inner, std::vector<std::string> hides,
              std::vector<std::string> shows)
      : LayerFactory(std::move(inner)), hides_(std::move(hides)), shows_(std::move(shows)) {}

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<Session>(std::move(session), *this);
  }

 private:
  class Session final : public Layer {
   public:
    Session(std::unique_ptr<Backend> inner, const HidingLayer& layer)
        : Layer(std::move(inner)), layer_(layer) {}
    void* extension(std::string_view id) noexcept override {
      return layer_.shows(id) ? inner().extension(id) : nullptr;
    }

   private:
    const HidingLayer& layer_;
  };

  bool shows(std::string_view id) const {
    if (hides_.empty()) return std::find(shows_.begin(), shows_.end(), id) != shows_.end();
    return std::find(hides_.begin(), hides_.end(), id) == hides_.end();
  }

  const std::vector<std::string> hides_;
  const std::vector<std::string> shows_;
};

inline constexpr PluginDescriptor hiding_layer =
    layer_plugin("hiding", "1.0",
                 [](const OptionReader& options,
                    const BackendContext& context) -> std::unique_ptr<BackendFactory> {
                   return std::make_unique<HidingLayer>(context.inner, options.strings("hides"),
                                                        options.strings("shows"));
                 });

}  // namespace polycache::testing
