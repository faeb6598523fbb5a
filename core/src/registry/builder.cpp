#include "registry/builder.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

#include "base/shown.h"
#include "config/problems.h"
#include "config/sections.h"
#include "front/breaking_factory.h"
#include "front/load_rules.h"
#include "plugins/loader.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "registry/alias_checks.h"
#include "registry/alias_keys.h"
#include "registry/alias_problems.h"
#include "registry/description.h"
#include "registry/plugin_maker.h"
#include "registry/plugin_search.h"
#include "registry/reports.h"
#include "registry/shared_prefixes.h"

namespace polycache {
namespace {

// The name of a registry in messages.
std::string name_of(const Config& config, const Environment& environment) {
  if (!environment.name.empty()) return "the registry " + quote(environment.name);
  if (config.file.empty()) return "a registry made in code";
  return "the registry of " + quote_path(config.file.native());
}

class Builder {
 public:
  Builder(const Config& config, const Environment& environment, std::uint64_t registry,
          const std::shared_ptr<Executor>& executor)
      : config_(config),
        environment_(environment),
        executor_(executor),
        kept_environment_(kept_by_aliases(environment)),
        configuration_(std::make_shared<const Configuration>(
            Configuration{registry, name_of(config, environment)})),
        search_(config, environment),
        maker_(config, environment, search_, configuration_,
               [this](const std::string& alias, std::string_view other) {
                 return sibling_of(alias, other);
               }) {}

  BuiltAliases build() {
    check_linked_plugins();
    check_the_sections();
    for (const auto& [alias, cache] : config_.caches) factory_of(alias);
    BuiltAliases built;
    for (auto& [alias, work] : work_) built.emplace(alias, finish(alias, work));
    if (!environment_.defer_errors) throw_problems();
    warn_of_shared_prefixes(config_, built, environment_.on_warning);
    return built;
  }

 private:
  // One alias under construction.
  struct Work {
    explicit Work(const Config& config) noexcept : problems(config) {}

    PluginOwner owner() noexcept {
      return {info.alias, keys ? keys->head() : std::string_view(), problems};
    }

    enum class Progress : unsigned char { under_way, done } progress = Progress::under_way;
    std::shared_ptr<BackendFactory> factory;  // including layers; null: invalid
    std::shared_ptr<StoreRecord> store_record;
    std::shared_ptr<BackendFactory> sibling;  // for other aliases: with the breaker around it
    CacheInfo info;
    std::shared_ptr<KeyPolicy> keys;
    Transforms transforms;
    AliasProblems problems;
  };

  // An invalid one is named here, once, and not reported for any alias.
  void check_linked_plugins() {
    for (std::size_t i = 0; i < environment_.linked_plugins.size(); ++i) {
      const std::string problem = linked_plugin_problem(environment_.linked_plugins[i]);
      if (problem.empty()) continue;
      const std::string name = "linked_plugins[" + std::to_string(i) + "]";
      problems_.add("", name, problem, 0);
      if (!environment_.defer_errors || !environment_.on_warning) continue;
      const std::string message = name + ": " + problem;
      make_reporter({}, environment_.on_warning)({.message = message});
    }
  }

  void check_the_sections() {
    ConfigProblems problems =
        check_sections(config_, environment_.sections, environment_.allow_unclaimed_sections);
    if (problems.empty()) return;
    plugins_only_ = false;
    if (environment_.defer_errors && environment_.on_warning) {
      make_reporter({}, environment_.on_warning)({.message = problems.message()});
    }
    problems_.take(std::move(problems));
  }

  static std::shared_ptr<const Environment> kept_by_aliases(Environment environment) {
    environment.executor = nullptr;
    // Read while caches are made, not afterwards.
    environment.services.clear();
    environment.sections.clear();
    environment.linked_plugins.clear();
    return std::make_shared<const Environment>(std::move(environment));
  }

  // The factory of an alias, built at the first request. Null if it is invalid.
  std::shared_ptr<BackendFactory> factory_of(const std::string& alias) {
    const auto [it, fresh] = work_.try_emplace(alias, config_);
    Work& work = it->second;
    if (!fresh) return work.factory;
    make(alias, config_.caches.find(alias)->second, work);
    work.progress = Work::Progress::done;
    if (!work.problems.empty()) work.factory = nullptr;
    if (!work.factory) return nullptr;
    const StoreTraits traits = work.factory->traits();
    work.store_record = std::make_shared<StoreRecord>(*environment_.clock, traits);
    work.sibling = traits.breaks_circuits ? work.factory
                                          : std::make_shared<BreakingFactory>(
                                                alias, work.factory, work.store_record,
                                                make_reporter(alias, environment_.on_warning));
    return work.factory;
  }

  void make(const std::string& alias, const CacheConfig& cache, Work& work) {
    const std::string path = "caches." + alias;
    work.info.alias = alias;
    describe(config_, path, cache, work.info);
    work.keys = make_key_policy(path, cache, search_, work.problems);
    if (alias.empty() || alias.find('.') != std::string::npos) {
      work.problems.note(path, "an alias must not be empty or contain a dot; rename it");
    }
    if (cache.timeout.value() < std::chrono::milliseconds::zero()) {
      work.problems.note(path + ".timeout", "must not be negative; zero stores nothing");
    }
    if (cache.tag_version_cache < std::chrono::milliseconds::zero()) {
      work.problems.note(path + ".tag_version_cache", "must not be negative; zero is none");
    }
    if (const auto problem = problem_of(cache.load)) {
      work.problems.note(path + ".load." + std::string(problem->member), std::string(problem->why));
    }
    if (cache.backend.empty()) {
      work.problems.note(path + ".backend", R"(is missing; name a store, e.g. "locmem")");
      return;
    }
    make_transforms(path, cache, work);
    std::shared_ptr<BackendFactory> factory = make_factory({.kind = PluginKind::backend,
                                                            .path = path,
                                                            .name_member = ".backend",
                                                            .name = cache.backend,
                                                            .location = cache.location,
                                                            .options = cache.options},
                                                           work);
    // The list begins with the outermost layer; construction begins with the innermost.
    for (std::size_t i = cache.layers.size(); factory && i-- > 0;) {
      const LayerConfig& layer = cache.layers[i];
      factory = make_factory({.kind = PluginKind::layer,
                              .path = path + ".layers[" + std::to_string(i) + "]",
                              .name_member = ".name",
                              .name = layer.name,
                              .location = no_location_,
                              .options = layer.options,
                              .inner = factory},
                             work);
      if (is_plugin_like(layer.name)) {
        work.info.layers.insert(work.info.layers.begin(), layer.name);
      }
    }
    if (factory) check_key_prefix(path, cache, work.keys.get(), *factory, work.problems);
    if (factory && cache.clear == ClearScope::prefix) {
      check_clear(path, work.keys.get(), *factory, work.problems);
    }
    if (factory) check_lease(path, cache, *factory, work.problems);
    if (factory) work.info.is_private = factory->traits().is_private;
    work.factory = std::move(factory);
  }

  // A store, or a layer around one.
  std::shared_ptr<BackendFactory> make_factory(PluginStage stage, Work& work) {
    const LoadedPlugin plugin = maker_.find(stage, work.problems);
    if (plugin.descriptor == nullptr) return nullptr;
    if (stage.kind == PluginKind::backend) {
      work.info.backend = plugin.descriptor->name;
      work.info.plugin_file = plugin.file;
      work.info.plugin_version = plugin.descriptor->plugin_version;
    }
    return maker_.make_factory(stage, plugin, work.owner());
  }

  void make_transforms(const std::string& path, const CacheConfig& cache, Work& work) {
    std::vector<Transforms::Named> all;
    for (std::size_t i = 0; i < cache.transform.size(); ++i) {
      const LayerConfig& transform = cache.transform[i];
      PluginStage stage{.kind = PluginKind::transform,
                        .path = path + ".transform[" + std::to_string(i) + "]",
                        .name_member = ".name",
                        .name = transform.name,
                        .location = no_location_,
                        .options = transform.options};
      const LoadedPlugin plugin = maker_.find(stage, work.problems);
      if (plugin.descriptor == nullptr) continue;
      const std::string name = plugin.descriptor->name;
      if (std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.name == name; })) {
        work.problems.note(stage.path, "the transform " + quote(name) + " is given twice");
        continue;
      }
      work.info.transforms.push_back(name);
      all.push_back(maker_.make_transform(stage, plugin, work.owner()));
    }
    if (const std::string problem = Transforms::problem_of(all); !problem.empty()) {
      work.problems.note(path + ".transform", problem);
    }
    work.transforms = Transforms(std::move(all));
  }

  std::shared_ptr<BackendFactory> sibling_of(const std::string& alias, std::string_view other) {
    if (!config_.caches.contains(other)) {
      throw ConfigError("there is no alias " + quote(other) + "; there are " + known_aliases());
    }
    const auto work = work_.find(other);
    if (work != work_.end() && work->second.progress == Work::Progress::under_way) {
      throw ConfigError("the aliases " + quote(alias) + " and " + quote(other) +
                        " refer to each other; break the circle");
    }
    if (factory_of(std::string(other))) {
      const Work& its = work_.find(other)->second;
      if (its.transforms.reads_plain()) return its.sibling;
      throw ConfigError("the alias " + quote(other) +
                        " has a transform that a composite would bypass, so its entries would be "
                        "stored without it; use an alias without that transform");
    }
    const std::string problem = "the alias " + quote(other) + ", which it needs, is invalid";
    if (work_.find(other)->second.problems.only_plugins()) throw PluginError(problem);
    throw ConfigError(problem);
  }

  std::string known_aliases() const {
    std::string list;
    for (const auto& [alias, cache] : config_.caches) {
      list.append(list.empty() ? "" : ", ").append(quote(alias));
    }
    return list;
  }

  BuiltAlias finish(const std::string& alias, Work& work) {
    BuiltAlias built;
    if (work.factory && work.keys) {
      const CacheConfig& cache = config_.caches.find(alias)->second;
      auto shared = std::make_shared<AliasShared>(
          AliasShared::Parts{.info = work.info,
                             .environment = kept_environment_,
                             .executor = executor_,
                             .factory = work.factory,
                             .store_record = work.store_record,
                             .transforms = work.transforms,
                             .tag_version_cache = cache.tag_version_cache});
      built.state = std::make_shared<CacheState>(std::move(shared),
                                                 KeySpace{.keys = *work.keys,
                                                          .timeout = cache.timeout,
                                                          .on_error = cache.on_error,
                                                          .clear = cache.clear,
                                                          .key_warnings = cache.key_warnings,
                                                          .load = cache.load});
    }
    if (!work.problems.empty()) {
      ConfigProblems own;
      work.problems.add_to(own);
      work.problems.add_to(problems_);
      built.error = own.message();
      built.plugin_error = work.problems.only_plugins();
      plugins_only_ = plugins_only_ && built.plugin_error;
      work.info.location.clear();  // not parsed: it may contain anything
    }
    work.info.error = built.error;
    built.info = work.info;
    built.configuration = configuration_;
    return built;
  }

  void throw_problems() {
    if (problems_.empty()) return;
    if (plugins_only_) throw PluginError(problems_.message());
    throw ConfigError(problems_.message());
  }

  const Config& config_;
  const Environment& environment_;
  const std::weak_ptr<Executor> executor_;
  const std::shared_ptr<const Environment> kept_environment_;  // by all aliases
  const std::shared_ptr<const Configuration> configuration_;
  const PluginSearch search_;
  const PluginMaker maker_;
  const std::vector<std::string> no_location_;
  std::map<std::string, Work, std::less<>> work_;
  ConfigProblems problems_;  // of all aliases
  bool plugins_only_ = true;
};

}  // namespace

void BuiltAlias::throw_error() const {
  if (plugin_error) throw PluginError(error);
  throw ConfigError(error);
}

BuiltAliases build_aliases(const Config& config, const Environment& environment,
                           std::uint64_t registry, const std::shared_ptr<Executor>& executor) {
  return Builder(config, environment, registry, executor).build();
}

}  // namespace polycache
