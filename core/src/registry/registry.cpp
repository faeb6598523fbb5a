#include "polycache/registry.h"

#include <cxxabi.h>

#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/cold_mutex.h"
#include "base/shown.h"
#include "front/backend_call.h"
#include "polycache/author/extension.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "registry/builder.h"
#include "registry/health.h"
#include "registry/plugin_search.h"
#include "registry/registry_executor.h"
#include "registry/reports.h"
#include "registry/thread_caches.h"

namespace polycache {
namespace {

constinit std::atomic<std::uint64_t> next_registry{1};

// Makes the stores of a replaced configuration close what no operation uses: sessions of other
// threads may stay open for long.
void close_idle(const BuiltAliases& aliases) noexcept {
  for (const auto& [alias, built] : aliases) {
    if (!built.state || built.state.use_count() == 1) continue;
    try {
      const std::unique_ptr<Backend> session = built.state->shared().connect();
      auto* const idle = static_cast<IdleExtension*>(session->extension(IdleExtension::id));
      if (idle != nullptr) idle->close_idle();
    } catch (...) {  // a foreign store may throw anything; then nothing is closed
    }
  }
}

Config read_again(const Config& installed) {
  if (installed.file.empty()) {
    throw ConfigError(
        "this configuration was not read from a file; give the new one to reconfigure()");
  }
  Config config = Config::from_file(installed.file);
  for (const Config::Applied& change : installed.applied) {
    config.apply(change.assignment, change.place);
  }
  return config;
}

}  // namespace

struct CacheRegistry::State {
  explicit State(std::shared_ptr<Executor> given)
      : executor(std::make_shared<RegistryExecutor>(std::move(given))) {}

  const std::uint64_t id = next_registry.fetch_add(1, std::memory_order_relaxed);
  const std::shared_ptr<RegistryExecutor> executor;  // of all configurations

  // Increased after `aliases` has changed, with release; a thread that sees the new value takes the
  // lock and so sees the aliases.
  std::atomic<std::uint64_t> generation{1};

  std::mutex building;  // one reconfigure at a time; the cold mutex is locked inside

  // Guarded by cold_mutex().
  std::shared_ptr<const BuiltAliases> aliases;
  std::shared_ptr<const Environment> environment;
  std::shared_ptr<const Config> config;
  std::vector<std::weak_ptr<const std::function<void()>>> listeners;

  std::shared_ptr<const BuiltAliases> snapshot() const {
    const std::lock_guard lock(cold_mutex());
    return aliases;
  }

  // The state at one moment, or the state to install.
  struct Known {
    std::shared_ptr<const BuiltAliases> aliases;
    std::shared_ptr<const Environment> environment;
    std::shared_ptr<const Config> config;
  };

  Known known() const {
    const std::lock_guard lock(cold_mutex());
    return {aliases, environment, config};
  }

  // Swaps: the previous state is destroyed with `fresh`, outside the lock.
  void put(Known& fresh) noexcept {
    const std::lock_guard lock(cold_mutex());
    aliases.swap(fresh.aliases);
    environment.swap(fresh.environment);
    config.swap(fresh.config);
    generation.fetch_add(1, std::memory_order_release);
  }

  // Installs the configuration that read(known()) returns, with the given environment or, if that
  // is null, the old one.
  void change(FunctionRef<Config(const Known&)> read,
              std::shared_ptr<const Environment> environment_of_it) {
    WarningHandler handler;
    install(read, std::move(environment_of_it), handler);
    tell_listeners(handler);
  }

  void install(FunctionRef<Config(const Known&)> read,
               std::shared_ptr<const Environment> environment_of_it, WarningHandler& handler) {
    BackendCall reports;
    Known fresh;
    fresh.environment = std::move(environment_of_it);
    try {
      const std::lock_guard lock(building);
      const Known before = known();
      if (!fresh.environment) fresh.environment = before.environment;
      handler = fresh.environment->on_warning;
      fresh.config = std::make_shared<const Config>(read(before));
      fresh.aliases = std::make_shared<const BuiltAliases>(
          build_aliases(*fresh.config, *fresh.environment, id, executor));
      for (const auto& [alias, built] : *fresh.aliases) {
        const auto older = before.aliases->find(alias);
        if (older == before.aliases->end() || !older->second.state || !built.state) continue;
        built.state->shared().count_on(older->second.state->shared());
      }
      const std::shared_ptr<Executor> given = fresh.environment->executor;
      put(fresh);
      executor->use(given);
    } catch (...) {
      deliver(reports, handler);
      throw;
    }
    close_idle(*fresh.aliases);
    fresh = {};  // the old aliases: what is no longer used is destroyed while no lock is held
    deliver(reports, handler);
  }

  void tell_listeners(const WarningHandler& handler) {
    std::vector<std::weak_ptr<const std::function<void()>>> now;
    {
      const std::lock_guard lock(cold_mutex());
      std::erase_if(listeners, [](const auto& listener) { return listener.expired(); });
      now = listeners;
    }
    for (const auto& listener : now) {
      const auto alive = listener.lock();  // a listener before it may have ended it
      if (!alive) continue;
      try {
        (*alive)();
      } catch (const abi::__forced_unwind&) {  // pthread_cancel: must not be caught
        throw;
      } catch (const std::exception& error) {
        const std::string message = std::string("a listener of on_change() threw: ") + error.what();
        call_handler(handler, {.message = message});
      } catch (...) {  // a listener may throw anything
        call_handler(handler, {.message = "a listener of on_change() threw"});
      }
    }
  }

  std::pair<std::shared_ptr<const BuiltAliases>, std::uint64_t> now() const {
    const std::lock_guard lock(cold_mutex());
    return {aliases, generation.load(std::memory_order_relaxed)};
  }

  // The state of that alias and the generation it belongs to.
  std::pair<std::shared_ptr<CacheState>, std::uint64_t> state_of(std::string_view alias) const {
    const auto [all, of_now] = now();
    const auto it = all->find(alias);
    if (it == all->end()) throw ConfigError(unknown(alias, *all));
    if (!it->second.state) it->second.throw_error();
    return {it->second.state, of_now};
  }

  // Moves a thread's cache to the current configuration. Not inlined, like make_cache(), so that
  // finding a cache saves no registers for it.
  [[gnu::noinline]] Cache& renew(ThreadCaches& mine, ThreadCaches::Slot& slot) const {
    auto [fresh, of_now] = state_of(slot.alias);
    slot.generation = of_now;
    Cache& cache = *slot.cache;
    cache.move_to(std::move(fresh));  // closing may use caches, and move the slots
    move_older(mine);
    return cache;
  }

  // Also moves the thread's other idle caches, so that a rarely used one does not keep an old store
  // alive, and releases those of registries that have ended.
  void move_older(ThreadCaches& mine) const noexcept {
    try {
      for (;;) {
        const auto [all, of_now] = now();
        ThreadCaches::Slot* const slot = mine.find_older(id, of_now);
        if (slot == nullptr) break;
        const auto it = all->find(slot->alias);
        if (it == all->end() || !it->second.state) {
          mine.end(*slot);
        } else {
          slot->generation = of_now;
          slot->cache->move_to(it->second.state);
        }
      }
    } catch (...) {  // out of memory: retried at the next call
    }
    mine.release_ended();
  }

  // The calling thread's first cache of that alias.
  [[gnu::noinline]] Cache& make_cache(std::string_view alias) const {
    ThreadCaches& mine = ThreadCaches::of_this_thread();
    auto [fresh, of_now] = state_of(alias);
    Cache& cache = *mine.add({.registry = id,
                              .generation = of_now,
                              .alias = std::string(alias),
                              .cache = std::make_unique<Cache>(std::move(fresh))})
                        .cache;
    move_older(mine);
    return cache;
  }

  static std::string unknown(std::string_view alias, const BuiltAliases& all) {
    std::string text = "there is no cache " + quote(alias) + "; ";
    if (all.empty()) return text + "the configuration has none";
    text += "there are";
    const char* separator = " ";
    std::vector<std::string_view> names;
    for (const auto& [name, built] : all) {
      text += separator + quote(name);
      separator = ", ";
      names.push_back(name);
    }
    if (const auto near = nearest(alias, names)) text += "; did you mean " + quote(*near) + "?";
    return text;
  }
};

CacheRegistry::CacheRegistry(Config config, Environment environment)
    : state_(std::make_shared<State>(environment.executor)) {
  state_->aliases = std::make_shared<const BuiltAliases>(
      build_aliases(config, environment, state_->id, state_->executor));
  state_->environment = std::make_shared<const Environment>(std::move(environment));
  state_->config = std::make_shared<const Config>(std::move(config));
  ThreadCaches::registry_begins(state_->id);
}

CacheRegistry::~CacheRegistry() {
  state_->executor->end();  // jobs that run may use the registry
  ThreadCaches::registry_ends(state_->id);
  if (ThreadCaches* const mine = ThreadCaches::current()) mine->release_ended();
  close_idle(*state_->snapshot());
}

Cache& CacheRegistry::operator[](std::string_view alias) {
  State& state = *state_;
  const std::uint64_t now = state.generation.load(std::memory_order_acquire);
  if (ThreadCaches* const mine = ThreadCaches::current()) [[likely]] {
    if (ThreadCaches::Slot* const slot = mine->find(state.id, alias)) [[likely]] {
      if (slot->generation != now && !slot->cache->busy()) [[unlikely]]
        return state.renew(*mine, *slot);
      return *slot->cache;
    }
  }
  return state.make_cache(alias);
}

std::map<std::string, CacheStatistics> CacheRegistry::statistics() const {
  const auto all = state_->snapshot();
  std::map<std::string, CacheStatistics> statistics;
  for (const auto& [alias, built] : *all) {
    if (built.state) statistics.emplace(alias, built.state->tallies().sum());
  }
  return statistics;
}

void CacheRegistry::reset_statistics() {
  const auto all = state_->snapshot();
  for (const auto& [alias, built] : *all) {
    if (built.state) built.state->tallies().reset();
  }
}

std::unique_ptr<Cache> CacheRegistry::open(std::string_view alias) {
  return std::make_unique<Cache>(state_->state_of(alias).first);
}

void CacheRegistry::reconfigure(Config config) {
  state_->change([&](const State::Known&) { return std::move(config); }, nullptr);
}

void CacheRegistry::reconfigure(Config config, Environment environment) {
  state_->change([&](const State::Known&) { return std::move(config); },
                 std::make_shared<const Environment>(std::move(environment)));
}

void CacheRegistry::reload() {
  try {
    // Read under the lock: otherwise an older file could be installed after a newer one.
    state_->change([](const State::Known& known) { return read_again(*known.config); }, nullptr);
  } catch (const ConfigError& error) {
    const std::shared_ptr<const Environment> environment = state_->known().environment;
    const std::string message =
        std::string("the configuration did not change, since the new one is invalid: ") +
        error.what();
    call_handler(environment->on_warning,
                 {.kind = Warning::Kind::reload_failed, .message = message});
    throw;
  }
}

SectionReader CacheRegistry::section(std::string_view name) const {
  return SectionReader(*state_->known().config, name);
}

std::shared_ptr<void> CacheRegistry::on_change(std::function<void()> listener) {
  auto held = std::make_shared<std::function<void()>>(std::move(listener));
  const std::lock_guard lock(cold_mutex());
  state_->listeners.emplace_back(held);
  return held;
}

const PluginDescriptor& CacheRegistry::plugin(PluginKind kind, std::string_view name) const {
  if (!is_plugin_like(name)) {
    throw PluginError(
        "expected a plugin's name, or the path of its file; the value is neither, and is not shown "
        "since it may contain a password");
  }
  const State::Known now = state_->known();
  return *PluginSearch(*now.config, *now.environment).find(kind, name).descriptor;
}

std::vector<CacheHealth> CacheRegistry::health() const {
  std::vector<CacheHealth> all;
  const std::shared_ptr<const BuiltAliases> aliases = state_->snapshot();
  for (const auto& [alias, built] : *aliases) {
    if (built.state) {
      all.push_back(check_health(*built.state));
    } else {
      CacheHealth& health = all.emplace_back();
      health.alias = alias;
      health.last_error = built.error;
    }
  }
  return all;
}

std::shared_ptr<Executor> CacheRegistry::executor() const { return state_->executor; }

bool CacheRegistry::shutdown(std::chrono::milliseconds deadline) {
  return state_->executor->shutdown(deadline);
}

void CacheRegistry::close_all() noexcept {
  ThreadCaches* const mine = ThreadCaches::current();
  if (mine == nullptr) return;
  mine->close(state_->id);
  state_->move_older(*mine);
}

bool CacheRegistry::contains(std::string_view alias) const {
  return state_->snapshot()->contains(alias);
}

std::vector<std::string> CacheRegistry::aliases() const {
  std::vector<std::string> names;
  for (const auto& [alias, built] : *state_->snapshot()) names.push_back(alias);
  return names;
}

std::vector<std::string> CacheRegistry::thread_aliases() const {
  const ThreadCaches* const mine = ThreadCaches::current();
  return mine == nullptr ? std::vector<std::string>() : mine->aliases(state_->id);
}

std::vector<CacheInfo> CacheRegistry::describe() const {
  std::vector<CacheInfo> infos;
  for (const auto& [alias, built] : *state_->snapshot()) infos.push_back(built.info);
  return infos;
}

}  // namespace polycache
