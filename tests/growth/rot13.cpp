// A transform.

#include <polycache/author/plugin.h>

#include <memory>
#include <string>
#include <string_view>

namespace {

class Rot13 final : public polycache::Transform {
 public:
  bool apply(std::string_view value, const polycache::TransformContext&,
             std::string& out) override {
    for (const char c : value) out.push_back(turned(c));
    return true;
  }
  bool revert(std::string_view stored, const polycache::TransformContext&,
              std::string& out) override {
    for (const char c : stored) out.push_back(turned(c));
    return true;
  }

 private:
  static char turned(char c) {
    if (c >= 'a' && c <= 'z') return static_cast<char>('a' + (c - 'a' + 13) % 26);
    if (c >= 'A' && c <= 'Z') return static_cast<char>('A' + (c - 'A' + 13) % 26);
    return c;
  }
};

std::unique_ptr<polycache::Transform> create(const polycache::OptionReader&,
                                             const polycache::BackendContext&) {
  return std::make_unique<Rot13>();
}

constexpr auto plugin = polycache::transform_plugin("growth_rot13", "1.0", create);

}  // namespace

POLYCACHE_PLUGIN(plugin);
