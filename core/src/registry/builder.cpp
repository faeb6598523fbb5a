#include "registry/builder.h"

#include <cxxabi.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <exception>
#include <filesystem>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/shown.h"
#include "config/hidden.h"
#include "config/problems.h"
#include "config/sections.h"
#include "front/backend_call.h"
#include "front/breaking_factory.h"
#include "plugins/key_functions.h"
#include "plugins/loader.h"
#include "polycache/author/extension.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "polycache/key.h"
#include "registry/agreements.h"
#include "registry/description.h"
#include "registry/process_wide.h"

namespace polycache {
namespace {

// The name of a registry in messages.
std::string name_of(const Config& config, const Environment& environment) {
  if (!environment.name.empty()) return "the registry " + quote(environment.name);
  if (config.file.empty()) return "a registry made in code";
  return "the registry of \"" + config.file.string() + '"';
}

// Receives reports of backends and passes them to the handler, or to the current operation.
std::function<void(const Warning&)> make_reporter(std::string alias, WarningHandler handler) {
  return [alias = std::move(alias), handler = std::move(handler)](const Warning& warning) {
    if (BackendCall* const call = BackendCall::current()) {
      try {
        call->keep(warning, alias);
      } catch (...) {  // out of memory: the warning is lost, the operation is not
      }
      return;
    }
    if (!handler) return;
    Warning complete = warning;
    complete.alias = alias;
    try {
      handler(complete);
    } catch (...) {  // no operation exists whose caller could receive it
    }
  };
}

// For a URL, or another text with a password, in the wrong member.
constexpr std::string_view no_plugin_name =
    "expected a name, or the path of a plugin's file; the value is neither, and is not shown since "
    "it may contain a password";

class Builder {
 public:
  Builder(const Config& config, const Environment& environment, std::uint64_t registry)
      : config_(config),
        environment_(environment),
        kept_environment_(kept_by_aliases(environment)),
        configuration_(std::make_shared<const Configuration>(
            Configuration{registry, name_of(config, environment)})),
        search_path_(plugin_folders(config)) {}

  BuiltAliases build() {
    check_linked_plugins();
    check_the_sections();
    for (const auto& [alias, cache] : config_.caches) factory_of(alias);
    BuiltAliases built;
    for (auto& [alias, work] : work_) built.emplace(alias, finish(alias, work));
    if (!environment_.defer_errors) throw_problems();
    for (const auto& [alias, cache] : config_.caches) warn_of_clearing(alias, cache);
    return built;
  }

 private:
  struct Problem {
    std::string place;  // "caches.json:12", or empty
    std::string member;
    std::string text;
    bool plugin;  // a PluginError rather than a ConfigError
  };

  // One alias under construction.
  struct Work {
    enum class Progress : unsigned char { under_way, done } progress = Progress::under_way;
    std::shared_ptr<BackendFactory> factory;  // including layers; null: invalid
    std::shared_ptr<Failsafe> failsafe;
    std::shared_ptr<BackendFactory> sibling;  // for other aliases: with the breaker around it
    CacheInfo info;
    std::shared_ptr<KeyPolicy> keys;
    Transforms transforms;
    std::vector<Problem> problems;
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

  WritableFiles writable() const noexcept {
    return config_.allow_writable_plugins ? WritableFiles::allowed : WritableFiles::refused;
  }

  // The place of a member; if it is missing, the place of the object that should contain it.
  std::string place_of(std::string_view member) const {
    for (;;) {
      const auto place = config_.places.find(member);
      if (place != config_.places.end()) return place->second;
      const std::size_t dot = member.rfind('.');
      if (dot == std::string_view::npos) return "";
      member = member.substr(0, dot);
    }
  }

  void note(Work& work, std::string_view member, std::string_view problem, bool plugin = false) {
    work.problems.push_back({place_of(member), std::string(member), std::string(problem), plugin});
  }

  // The factory of an alias, built at the first request. Null if it is invalid.
  std::shared_ptr<BackendFactory> factory_of(const std::string& alias) {
    const auto [it, fresh] = work_.try_emplace(alias);
    Work& work = it->second;
    if (!fresh) return work.factory;
    make(alias, config_.caches.find(alias)->second, work);
    work.progress = Work::Progress::done;
    if (!work.problems.empty()) work.factory = nullptr;
    if (!work.factory) return nullptr;
    const StoreTraits traits = work.factory->traits();
    work.failsafe = std::make_shared<Failsafe>(*environment_.clock, traits);
    work.sibling = traits.breaks_circuits ? work.factory
                                          : std::make_shared<BreakingFactory>(
                                                alias, work.factory, work.failsafe,
                                                make_reporter(alias, environment_.on_warning));
    return work.factory;
  }

  void make(const std::string& alias, const CacheConfig& cache, Work& work) {
    const std::string path = "caches." + alias;
    work.info.alias = alias;
    describe(config_, path, cache, work.info);
    make_keys(path, cache, work);
    if (alias.empty() || alias.find('.') != std::string::npos) {
      note(work, path, "an alias must not be empty or contain a dot; rename it");
    }
    if (cache.timeout.value() < std::chrono::milliseconds::zero()) {
      note(work, path + ".timeout", "must not be negative; zero stores nothing");
    }
    if (cache.backend.empty()) {
      note(work, path + ".backend", R"(is missing; name a store, e.g. "locmem")");
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
    if (factory && factory->traits().key_rules == KeyRules::strict &&
        check_key(cache.key_prefix).bad_byte) {
      note(work, path + ".key_prefix",
           "contains a space or a control character, which this store does not allow in a key");
    }
    if (factory && work.keys && factory->traits().key_rules == KeyRules::strict &&
        work.keys->head().size() >= max_portable_key_bytes) {
      note(work, path + ".key_prefix",
           "leaves no room for a key: this store allows at most 250 bytes, including prefix and "
           "version; make it shorter");
    }
    if (factory && cache.clear == ClearScope::prefix) check_clear(path, *factory, work);
    work.factory = std::move(factory);
  }

  // One plugin of an alias.
  struct Stage {
    PluginKind kind;
    std::string path;         // "caches.default.layers[0]"
    std::string name_member;  // ".name"
    const std::string& name;
    const std::vector<std::string>& location;
    const OptionMap& options;
    std::shared_ptr<BackendFactory> inner = {};
  };

  // Finds the plugin. Its descriptor is null if there is a problem, which is noted.
  LoadedPlugin find(const Stage& stage, Work& work) {
    try {
      if (is_plugin_like(stage.name)) {
        return find_plugin(stage.kind, stage.name, environment_.linked_plugins, search_path_,
                           config_.folder, writable());
      }
      note(work, stage.path + stage.name_member, no_plugin_name, true);
    } catch (const PluginError& error) {
      note(work, stage.path + stage.name_member, error.what(), true);
    }
    return {};
  }

  // Calls create(options, context), which makes what the plugin adds; `what` names that. Null if
  // there is a problem, which is noted.
  template <class Product, class Create>
  std::unique_ptr<Product> create(Stage& stage, const LoadedPlugin& plugin, Create create_product,
                                  const std::string& what, Work& work) {
    const std::string& alias = work.info.alias;
    const std::size_t problems_before = work.problems.size();
    OptionReader reader(
        stage.path, stage.location, stage.options,
        [&](std::string_view member, std::string_view problem) { note(work, member, problem); });
    reader.hide(hidden_under(config_.hidden, stage.path + ".options."));
    const auto sibling = [&](std::string_view other) { return sibling_of(alias, other); };
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
                                 .key_head = work.keys ? work.keys->head() : std::string_view(),
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
      if (!product) note(work, stage.path, whose + " did not create a " + what, true);
      reader.reject_unread();
    } catch (const PluginError& error) {
      note(work, stage.path, error.what(), true);
    } catch (const ConfigError& error) {
      note(work, stage.path, error.what());
    } catch (const std::exception& error) {
      note(work, stage.path, whose + " threw while it created the " + what + ": " + error.what(),
           true);
    } catch (const abi::__forced_unwind&) {  // pthread_cancel: must not be caught
      throw;
    } catch (...) {  // a foreign plugin may throw anything
      note(work, stage.path,
           whose + " threw something that is not a std::exception while it created the " + what,
           true);
    }
    if (work.problems.size() != problems_before) return nullptr;
    return product;
  }

  // A store, or a layer around one.
  std::shared_ptr<BackendFactory> make_factory(Stage stage, Work& work) {
    const LoadedPlugin plugin = find(stage, work);
    if (plugin.descriptor == nullptr) return nullptr;
    if (stage.kind == PluginKind::backend) {
      work.info.backend = plugin.descriptor->name;
      work.info.plugin_file = plugin.file;
      work.info.plugin_version = plugin.descriptor->plugin_version;
    }
    return create<BackendFactory>(stage, plugin, plugin.descriptor->payload.create, "store", work);
  }

  void make_transforms(const std::string& path, const CacheConfig& cache, Work& work) {
    std::vector<Transforms::Named> all;
    for (std::size_t i = 0; i < cache.transform.size(); ++i) {
      const LayerConfig& transform = cache.transform[i];
      Stage stage{.kind = PluginKind::transform,
                  .path = path + ".transform[" + std::to_string(i) + "]",
                  .name_member = ".name",
                  .name = transform.name,
                  .location = no_location_,
                  .options = transform.options};
      const LoadedPlugin plugin = find(stage, work);
      if (plugin.descriptor == nullptr) continue;
      const std::string name = plugin.descriptor->name;
      if (std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.name == name; })) {
        note(work, stage.path, "the transform " + quote(name) + " is given twice");
        continue;
      }
      work.info.transforms.push_back(name);
      all.push_back({name, create<Transform>(stage, plugin, plugin.descriptor->payload.transform,
                                             "transform", work)});
    }
    work.transforms = Transforms(std::move(all));
  }

  // One sentence for each option, however many aliases differ.
  void reject_disagreements(const OptionReader& reader, std::string_view what,
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
    if (only_plugins(work_.find(other)->second)) throw PluginError(problem);
    throw ConfigError(problem);
  }

  static bool only_plugins(const Work& work) {
    return std::all_of(work.problems.begin(), work.problems.end(),
                       [](const Problem& problem) { return problem.plugin; });
  }

  std::string known_aliases() const {
    std::string list;
    for (const auto& [alias, cache] : config_.caches) {
      list.append(list.empty() ? "" : ", ").append(quote(alias));
    }
    return list;
  }

  void make_keys(const std::string& path, const CacheConfig& cache, Work& work) {
    KeyFunction function;
    bool head_is_kept = true;
    if (!is_plugin_like(cache.key_function) && !registered_key_function(cache.key_function)) {
      note(work, path + ".key_function", no_plugin_name, true);
      return;
    }
    if (cache.key_function != "default") {
      try {
        head_is_kept = find_key_function(cache.key_function, function);
      } catch (const PluginError& error) {
        note(work, path + ".key_function", error.what(), true);
        return;
      }
    }
    work.keys = std::make_shared<KeyPolicy>(cache.key_prefix, cache.version, std::move(function),
                                            head_is_kept);
  }

  // Sets `function`. Returns whether it keeps the head.
  bool find_key_function(const std::string& name, KeyFunction& function) {
    if (auto registered = registered_key_function(name)) {
      function = std::move(*registered);
      return false;
    }
    // "path/libmy_keys.so:my_function"
    const std::size_t colon = name.rfind(':');
    if (colon != std::string::npos && name.find('/') != std::string::npos &&
        name.find('/', colon) == std::string::npos) {
      const std::filesystem::path file = name.substr(0, colon);
      function = load_key_function(file.is_absolute() ? file : config_.folder / file,
                                   name.substr(colon + 1), writable());
      return false;
    }
    const LoadedPlugin plugin =
        find_plugin(PluginKind::key_function, name, environment_.linked_plugins, search_path_,
                    config_.folder, writable());
    function = plugin.descriptor->payload.key_function;
    return (plugin.descriptor->flags & keeps_head) != 0;
  }

  void check_clear(const std::string& path, BackendFactory& factory, Work& work) {
    const std::string member = path + ".clear";
    if (work.keys && work.keys->head().empty()) {
      note(work, member,
           R"("prefix" needs a key function whose keys begin with prefix and version; )"
           R"(raise "version" instead of clearing, or set "clear": "store")");
      return;
    }
    try {
      const std::unique_ptr<Backend> session = factory.connect();
      if (session && session->extension(ErasePrefixExtension::id) != nullptr) return;
    } catch (const std::exception& error) {
      note(work, member, std::string("could not be checked: ") + error.what());
      return;
    } catch (const abi::__forced_unwind&) {  // pthread_cancel: must not be caught
      throw;
    } catch (...) {  // a foreign plugin may throw anything
      note(work, member, "could not be checked: the store opened no session");
      return;
    }
    note(work, member,
         R"("prefix" is not supported by this store; raise "version" instead of clearing, )"
         R"(or set "clear": "store")");
  }

  // As far as the configuration shows: one location spelled in two ways counts as two.
  bool share_a_store(const std::string& one, const std::string& another) const {
    const Work& first = work_.find(one)->second;
    const Work& second = work_.find(another)->second;
    if (!first.factory || !second.factory || first.info.backend != second.info.backend)
      return false;
    if (!second.keys || second.keys->head().empty())
      return false;  // its keys depend on its
                     // function
    const CacheConfig& a = config_.caches.find(one)->second;
    const CacheConfig& b = config_.caches.find(another)->second;
    // All stock stores use these option names for parts of a store.
    const auto same = [&](std::string_view option) {
      const auto mine = a.options.find(option);
      const auto its = b.options.find(option);
      if (mine == a.options.end() || its == b.options.end()) {
        return mine == a.options.end() && its == b.options.end();
      }
      return mine->second == its->second;
    };
    return a.location == b.location && same("database") && same("table");
  }

  // Clearing the prefix "shop" removes all keys that begin with "shop:", and so all of "shop:eu".
  void warn_of_clearing(const std::string& alias, const CacheConfig& cache) const {
    if (cache.clear != ClearScope::prefix || !environment_.on_warning) return;
    std::string others;
    for (const auto& [other, inner] : config_.caches) {
      if (inner.key_prefix == cache.key_prefix || !share_a_store(alias, other)) continue;
      if (!(inner.key_prefix + ':').starts_with(cache.key_prefix + ':')) continue;
      others.append(others.empty() ? "" : ", ").append(quote(other));
      others.append(" (prefix ").append(quote(inner.key_prefix)).append(")");
    }
    if (others.empty()) return;
    const std::string message =
        "clear() removes every key that begins with " + quote(cache.key_prefix + ':') +
        ", including the entries of " + others +
        ", which share the store; give each a prefix that does not begin with another one and ':'";
    // Collected while a configuration is built, and delivered when no lock is held.
    make_reporter(alias, environment_.on_warning)({.message = message});
  }

  BuiltAlias finish(const std::string& alias, Work& work) {
    BuiltAlias built;
    if (work.factory && work.keys) {
      const CacheConfig& cache = config_.caches.find(alias)->second;
      auto shared =
          std::make_shared<AliasShared>(AliasShared::Parts{.info = work.info,
                                                           .environment = kept_environment_,
                                                           .executor = environment_.executor,
                                                           .factory = work.factory,
                                                           .failsafe = work.failsafe,
                                                           .transforms = work.transforms});
      built.state = std::make_shared<CacheState>(std::move(shared),
                                                 KeySpace{.keys = *work.keys,
                                                          .timeout = cache.timeout,
                                                          .on_error = cache.on_error,
                                                          .clear = cache.clear,
                                                          .key_warnings = cache.key_warnings});
    }
    if (!work.problems.empty()) {
      ConfigProblems own;
      for (const Problem& problem : work.problems) {
        add_to(own, problem);
        add_to(problems_, problem);
        plugins_only_ &= problem.plugin;
      }
      built.error = own.message();
      built.plugin_error = only_plugins(work);
      work.info.location.clear();  // not parsed: it may contain anything
    }
    work.info.error = built.error;
    built.info = work.info;
    built.configuration = configuration_;
    return built;
  }

  static void add_to(ConfigProblems& problems, const Problem& problem) {
    int line = 0;
    const std::size_t colon = problem.place.rfind(':');
    if (colon != std::string::npos) {
      std::from_chars(problem.place.data() + colon + 1, problem.place.data() + problem.place.size(),
                      line);
    }
    problems.add(problem.place, problem.member, problem.text, line);
  }

  void throw_problems() {
    if (problems_.empty()) return;
    if (plugins_only_) throw PluginError(problems_.message());
    throw ConfigError(problems_.message());
  }

  const Config& config_;
  const Environment& environment_;
  const std::shared_ptr<const Environment> kept_environment_;  // by all aliases
  const std::shared_ptr<const Configuration> configuration_;
  const std::vector<std::filesystem::path> search_path_;
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

std::vector<std::filesystem::path> plugin_folders(const Config& config) {
  std::vector<std::filesystem::path> folders;
  for (const std::filesystem::path& folder : config.plugin_path) {
    folders.push_back(folder.is_absolute() ? folder : config.folder / folder);
  }
  return plugin_search_path(folders);
}

BuiltAliases build_aliases(const Config& config, const Environment& environment,
                           std::uint64_t registry) {
  return Builder(config, environment, registry).build();
}

}  // namespace polycache
