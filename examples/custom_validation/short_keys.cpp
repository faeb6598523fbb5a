// locmem with other key rules, and nothing else changed: an alias with "backend": "short_keys"
// shares its store with every locmem alias of the same location.
//
//   "sessions": {"backend": "short_keys", "location": "sessions", "options": {"max_entries": 1000}}

#include <polycache/author/plugin.h>
#include <polycache/backends/locmem.h>
#include <polycache/error.h>

#include <memory>
#include <string>
#include <string_view>

namespace {

constexpr std::size_t most_bytes = 40;

class ShortKeys final : public polycache::locmem::Factory {
 public:
  ShortKeys(const polycache::OptionReader& options, const polycache::BackendContext& context)
      : Factory(options, context, polycache::KeyRules::custom) {}

  void validate_key(std::string_view final_key,
                    polycache::FunctionRef<void(std::string_view)> warn) const override {
    if (final_key.size() > most_bytes) {
      throw polycache::InvalidKey("short_keys: a key of " + std::to_string(final_key.size()) +
                                  " bytes; at most " + std::to_string(most_bytes) + " are allowed");
    }
    if (final_key.find("//") != std::string_view::npos)
      warn("short_keys: the key has an empty part (\"//\")");
  }
};

std::unique_ptr<polycache::BackendFactory> create(const polycache::OptionReader& options,
                                                  const polycache::BackendContext& context) {
  return std::make_unique<ShortKeys>(options, context);
}

constexpr auto plugin = polycache::backend_plugin("short_keys", "1.0", create);

}  // namespace

POLYCACHE_PLUGIN(plugin);
