// A store that keeps nothing: every read is a miss and every write succeeds. Use it to switch a
// cache off without changing the program, and in tests.

#pragma once

#include <memory>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"

namespace polycache::dummy {

extern const PluginDescriptor plugin;

// Takes no options. The location is ignored, so that changing one word of the configuration
// switches a cache off. To change validate_key(), derive from this class and pass KeyRules::custom.
class Factory : public BackendFactory {
 public:
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::portable);
  ~Factory() override;

  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;
  // MaintenanceExtension.
  void* extension(std::string_view id) noexcept override;

 private:
  KeyRules rules_;
};

}  // namespace polycache::dummy
