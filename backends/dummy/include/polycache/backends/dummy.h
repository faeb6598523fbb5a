// The store that keeps nothing: every read is a miss and every write succeeds. For
// switching a cache off without touching the program, and for tests.

#pragma once

#include <memory>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"

namespace polycache::dummy {

extern const PluginDescriptor plugin;

// Takes no options. A location is ignored, so that a cache is switched off by changing one
// word of its configuration. Derive from it to change validate_key(), with the rules
// KeyRules::custom.
class Factory : public BackendFactory {
 public:
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::portable);
  ~Factory() override;

  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;

 private:
  KeyRules rules_;
};

}  // namespace polycache::dummy
