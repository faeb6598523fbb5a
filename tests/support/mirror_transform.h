// A transform that changes every byte, and without which its alias reads nothing.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "polycache/author/plugin.h"
#include "polycache/author/transform.h"

namespace polycache::testing {

// Turns every bit of a value around, and is required.
class Mirror final : public Transform {
 public:
  bool apply(std::string_view value, const TransformContext&, std::string& out) override {
    for (const char c : value) out.push_back(static_cast<char>(~c));
    return true;
  }
  bool revert(std::string_view stored, const TransformContext& context, std::string& out) override {
    return apply(stored, context, out);
  }
  bool reads_plain() const noexcept override { return false; }
  TransformEffect effect() const noexcept override { return TransformEffect::encrypts; }
};

inline constexpr PluginDescriptor mirror = transform_plugin(
    "mirror", "1.0", [](const OptionReader&, const BackendContext&) -> std::unique_ptr<Transform> {
      return std::make_unique<Mirror>();
    });

}  // namespace polycache::testing
