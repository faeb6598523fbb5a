#include "registry/plugin_maker.h"

#include <cxxabi.h>

#include <cstddef>
#include <exception>
#include <set>
#include <span>
#include <utility>

#include "base/shown.h"
#include "config/hidden.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "registry/process_wide.h"
#include "registry/reports.h"

namespace polycache {

PluginMaker::PluginMaker(const Config& config, const Environment& environment,
                         const PluginSearch& search,
                         std::shared_ptr<const Configuration> configuration,
                         FindSibling find_sibling)
    : config_(config),
      environment_(environment),
      search_(search),
      configuration_(std::move(configuration)),
      find_sibling_(std::move(find_sibling)) {}

LoadedPlugin PluginMaker::find(const PluginStage& stage, AliasProblems& problems) const {
  try {
    if (is_plugin_like(stage.name)) return search_.find(stage.kind, stage.name);
    problems.note_of_plugin(stage.path + stage.name_member, no_plugin_name);
  } catch (const PluginError& error) {
    problems.note_of_plugin(stage.path + stage.name_member, error.what());
  }
  return {};
}

std::unique_ptr<BackendFactory> PluginMaker::make_factory(PluginStage& stage,
                                                          const LoadedPlugin& plugin,
                                                          const PluginOwner& owner) const {
  return create<BackendFactory>(stage, plugin, plugin.descriptor->payload.create, "store", owner);
}

Transforms::Named PluginMaker::make_transform(PluginStage& stage, const LoadedPlugin& plugin,
                                              const PluginOwner& owner) const {
  Transforms::Named made{.name = plugin.descriptor->name, .transform = nullptr};
  const auto make = [&](const OptionReader& options, const BackendContext& context) {
    made.writes = options.boolean("write", true);
    return plugin.descriptor->payload.transform(options, context);
  };
  made.transform = create<Transform>(stage, plugin, make, "transform", owner);
  return made;
}

// Calls create_product(options, context), which makes what the plugin adds; `what` names that.
template <class Product, class Create>
std::unique_ptr<Product> PluginMaker::create(PluginStage& stage, const LoadedPlugin& plugin,
                                             Create create_product, const std::string& what,
                                             const PluginOwner& owner) const {
  const std::string& alias = owner.alias;
  AliasProblems& problems = owner.problems;
  const std::size_t problems_before = problems.size();
  OptionReader reader(
      stage.path, stage.location, stage.options,
      [&](std::string_view member, std::string_view problem) { problems.note(member, problem); });
  reader.hide(hidden_under(config_.hidden, stage.path + ".options."));
  const auto sibling = [&](std::string_view other) { return find_sibling_(alias, other); };
  const auto agree = [&](std::string_view id, std::string_view shared_thing,
                         std::span<const SharedOption> shared) {
    reject_disagreements(reader, shared_thing, note_agreement(configuration_, alias, id, shared));
  };
  const auto find_service = [&](std::string_view id) -> std::shared_ptr<void> {
    const auto found = environment_.services.find(id);
    return found == environment_.services.end() ? nullptr : found->second;
  };
  const BackendContext context{.alias = alias,
                               .clock = *environment_.clock,
                               .key_head = owner.key_head,
                               .inner = std::move(stage.inner),
                               .sibling = sibling,
                               .report = make_reporter(alias, environment_.on_warning),
                               .process_wide = process_wide_object,
                               .agree = agree,
                               .find_service = find_service};
  const std::string whose =
      plugin.file.empty() ? "the plugin " + quote(stage.name) : "the plugin " + plugin.file;
  std::unique_ptr<Product> product;
  try {
    product = create_product(reader, context);
    if (!product) problems.note_of_plugin(stage.path, whose + " did not create a " + what);
    reader.reject_unread();
  } catch (const PluginError& error) {
    problems.note_of_plugin(stage.path, error.what());
  } catch (const ConfigError& error) {
    problems.note(stage.path, error.what());
  } catch (const std::exception& error) {
    problems.note_of_plugin(stage.path,
                            whose + " threw while it created the " + what + ": " + error.what());
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: must not be caught
    throw;
  } catch (...) {  // a foreign plugin may throw anything
    problems.note_of_plugin(
        stage.path,
        whose + " threw something that is not a std::exception while it created the " + what);
  }
  if (problems.size() != problems_before) return nullptr;
  return product;
}

// One sentence for each option, however many aliases differ.
void PluginMaker::reject_disagreements(const OptionReader& reader, std::string_view what,
                                       const std::vector<Disagreement>& differences) const {
  std::set<std::string_view> said;
  for (const Disagreement& other : differences) {
    if (!said.insert(other.option).second) continue;
    const bool same = other.registry.empty();
    reader.reject(other.option, "is " + other.here + (same ? "" : " in " + configuration_->name) +
                                    ", but " + other.there + " for the alias " +
                                    quote(other.alias) + (same ? "" : " of " + other.registry) +
                                    "; both use " + std::string(what) +
                                    ": give them the same value, or two locations");
  }
}

}  // namespace polycache
