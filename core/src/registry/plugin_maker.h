// Calls the create functions of an alias's plugins.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "front/transforms.h"
#include "plugins/loader.h"
#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/config.h"
#include "polycache/environment.h"
#include "registry/agreements.h"
#include "registry/alias_problems.h"
#include "registry/plugin_search.h"

namespace polycache {

// One plugin of an alias, as the configuration asks for it.
struct PluginStage {
  PluginKind kind;
  std::string path;         // "caches.default.layers[0]"
  std::string name_member;  // ".name"
  const std::string& name;
  const std::vector<std::string>& location;
  const OptionMap& options;
  std::shared_ptr<BackendFactory> inner = {};
};

// The alias that a plugin is made for.
struct PluginOwner {
  const std::string& alias;
  std::string_view key_head;  // empty: its keys have none
  AliasProblems& problems;
};

class PluginMaker {
 public:
  // Returns the factory of another alias, for `alias` to be composed of. Throws ConfigError or
  // PluginError with what the option that names `other` is to say.
  using FindSibling = std::function<std::shared_ptr<BackendFactory>(const std::string& alias,
                                                                    std::string_view other)>;

  // `config` and `environment` must outlive the object.
  PluginMaker(const Config& config, const Environment& environment, const PluginSearch& search,
              std::shared_ptr<const Configuration> configuration, FindSibling find_sibling);

  // The descriptor is null if there is a problem, which is noted.
  LoadedPlugin find(const PluginStage& stage, AliasProblems& problems) const;

  // A store, or a layer around stage.inner, which is moved from. Null if there is a problem, which
  // is noted; so for the next one.
  std::unique_ptr<BackendFactory> make_factory(PluginStage& stage, const LoadedPlugin& plugin,
                                               const PluginOwner& owner) const;
  // Its transform is null if there is a problem. Every transform has the option "write" of the
  // core.
  Transforms::Named make_transform(PluginStage& stage, const LoadedPlugin& plugin,
                                   const PluginOwner& owner) const;

 private:
  template <class Product, class Create>
  std::unique_ptr<Product> create(PluginStage& stage, const LoadedPlugin& plugin,
                                  Create create_product, const std::string& what,
                                  const PluginOwner& owner) const;
  void reject_disagreements(const OptionReader& reader, std::string_view what,
                            const std::vector<Disagreement>& differences) const;

  const Config& config_;
  const Environment& environment_;
  const PluginSearch& search_;
  const std::shared_ptr<const Configuration> configuration_;
  const FindSibling find_sibling_;
};

}  // namespace polycache
