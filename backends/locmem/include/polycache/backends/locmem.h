// The store in this process's own memory: the fastest, and gone when the process ends.
//
//   "default": {"backend": "locmem", "location": "pages", "options": {"max_bytes": "256MiB"}}
//
// A location is a name ("" if there is none): all aliases, registries and plugins of the
// process that use one location, and one clock, share one store, and must agree on its
// limits. Options:
//
//   max_bytes       what the store may occupy, keys, values and overhead counted; 64MiB
//   max_entries     how many entries it may hold; no limit
//   policy          which entry goes when there is no room: lru, django
//   cull_frequency  policy django: one entry in so many goes in a cull, 0 empties; 3
//
// Limits hold at every moment. A value that does not fit into max_bytes is refused. Expired
// entries are absent to the millisecond; their memory is given back as others are written.

#pragma once

#include <memory>
#include <string_view>

#include "polycache/backend.h"
#include "polycache/option_reader.h"
#include "polycache/plugin.h"

namespace polycache::locmem {

extern const PluginDescriptor plugin;

// Thread-safe. Derive from it to change validate_key(), with the rules KeyRules::custom.
class Factory : public BackendFactory {
 public:
  // Reports wrong options to `options`. Uses `context` during this call only.
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::portable);
  ~Factory() override;

  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polycache::locmem
