#include "polycache/loaders.h"

#include <atomic>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>

#include "polycache/author/text.h"
#include "polycache/detail/fork_mutex.h"
#include "polycache/error.h"
#include "polycache/executor.h"
#include "polycache/registry.h"
#include "section.h"

namespace polycache {
namespace {

using detail::LoaderState;
using States = std::map<std::string, std::shared_ptr<const LoaderState>, std::less<>>;

// If the program has claimed a name, it reads that section itself.
void claim(std::string_view name, SectionCheck check) noexcept {
  try {
    register_section(std::string(name), std::move(check));
  } catch (const std::exception&) {  // a program that starts has no other way to hear of it
  }
}
// Before the constructors of the program's static objects, one of which may be a registry. The
// linker puts those of this file behind those of main.cpp, unless there is a priority.
constexpr int early = 200;
[[gnu::constructor(early)]] void claim_sections() {
  claim(detail::loaders_section,
        [](SectionReader& section) { static_cast<void>(detail::read_loaders(section, {})); });
  claim(detail::defaults_section, [](SectionReader& section) {
    static_cast<void>(detail::read_loader_options(section, {}));
  });
}

[[noreturn]] void refuse_repeated(const std::string& label) {
  throw ConfigError("loader " + quote(label) + ": the label is used already; choose another one");
}

LoaderOptions defaults_of(const CacheRegistry& registry) {
  SectionReader section = registry.section(detail::defaults_section);
  LoaderOptions options = detail::read_loader_options(section, {});
  section.finish();
  return options;
}

// Those of the configuration.
States configured(CacheRegistry& registry) {
  const LoaderOptions defaults = defaults_of(registry);
  SectionReader section = registry.section(detail::loaders_section);
  States states;
  for (detail::DeclaredLoader& loader : detail::read_loaders(section, defaults)) {
    if (loader.getter.empty()) continue;  // recorded
    try {
      states.emplace(loader.label,
                     std::make_shared<const LoaderState>(registry, loader.label, loader.getter,
                                                         loader.options, true));
    } catch (const ConfigError& error) {
      loader.section.reject("", error.what());
    }
  }
  section.finish();
  return states;
}

}  // namespace

struct Loaders::State {
  explicit State(CacheRegistry& its_registry) : registry(its_registry) {}

  std::shared_ptr<const LoaderState> find(std::string_view label) const {
    const std::lock_guard lock(detail::fork_mutex());
    for (const States* states : {&of_program, &of_configuration}) {
      const auto found = states->find(label);
      if (found != states->end()) return found->second;
    }
    return nullptr;
  }
  std::vector<std::shared_ptr<const LoaderState>> all() const {
    const std::lock_guard lock(detail::fork_mutex());
    States both = of_program;
    both.insert(of_configuration.begin(), of_configuration.end());
    std::vector<std::shared_ptr<const LoaderState>> list;
    for (const auto& [label, state] : both) list.push_back(state);
    return list;
  }
  // Two threads may be here, of which the first may have read the older configuration.
  void reload() {
    const std::uint64_t turn = turns.fetch_add(1) + 1;
    States read = configured(registry);  // then the older ones: they end when the mutex is free
    const std::lock_guard lock(detail::fork_mutex());
    if (turn < turn_of_configuration) return;
    for (const auto& [label, state] : read) {
      if (of_program.contains(label)) refuse_repeated(label);
    }
    of_configuration.swap(read);
    turn_of_configuration = turn;
  }

  CacheRegistry& registry;
  std::atomic<std::uint64_t> turns{0};
  // Guarded by fork_mutex().
  States of_program;
  States of_configuration;
  std::uint64_t turn_of_configuration = 0;

  std::shared_ptr<void> listener;  // the last member: it ends first
};

Loaders::Loaders(CacheRegistry& registry) : state_(std::make_shared<State>(registry)) {
  state_->listener = registry.on_change([state = std::weak_ptr(state_)] {
    if (const std::shared_ptr<State> mine = state.lock()) mine->reload();
  });
  state_->reload();  // behind on_change(), so that no reload is missed
}

Loaders::~Loaders() = default;

Loader Loaders::add(std::string label, const FunctionOrName& getter, LoaderOptions options) {
  auto state = std::make_shared<const LoaderState>(state_->registry, label, getter,
                                                   std::move(options), false);
  const std::lock_guard lock(detail::fork_mutex());
  if (state_->of_configuration.contains(label) ||
      !state_->of_program.emplace(label, state).second) {
    refuse_repeated(label);
  }
  return Loader(std::move(state));
}

Loader Loaders::add(std::string label, const FunctionOrName& getter) {
  return add(std::move(label), getter, defaults_of(state_->registry));
}

Loader Loaders::operator[](std::string_view label) const {
  if (auto state = state_->find(label)) return Loader(std::move(state));
  std::vector<std::string_view> names;
  const auto all = state_->all();
  names.reserve(all.size());
  for (const auto& state : all) names.emplace_back(state->label());
  std::string text = "there is no loader " + quote(label);
  if (const auto near = nearest(label, names)) text += "; did you mean " + quote(*near) + "?";
  if (names.empty()) throw ConfigError(text + "; none is declared");
  text += text.ends_with('?') ? " There are" : "; there are";
  for (const std::string_view& name : names) {
    text += (&name == names.data() ? " " : ", ") + quote(name);
  }
  throw ConfigError(text);
}

bool Loaders::contains(std::string_view label) const { return state_->find(label) != nullptr; }

std::vector<LoaderInfo> Loaders::describe() const {
  std::vector<LoaderInfo> infos;
  for (const auto& state : state_->all()) infos.push_back(state->describe());
  return infos;
}

namespace {

// Of a registry that is, or has been, the global one. A registry is known by its executor: another
// one may have its address later.
struct Global {
  Global(const std::shared_ptr<Executor>& executor, CacheRegistry& registry)
      : of(executor), loaders(registry) {}

  bool is_of(const std::shared_ptr<Executor>& executor) const noexcept {
    return !of.owner_before(executor) && !executor.owner_before(of);
  }

  std::weak_ptr<Executor> of;
  Loaders loaders;
};

// Never destroyed. REQUIRES: fork_mutex() is held
std::map<CacheRegistry*, std::unique_ptr<Global>>& all_global() {
  static constinit std::map<CacheRegistry*, std::unique_ptr<Global>>* all = nullptr;
  if (all == nullptr) all = new std::map<CacheRegistry*, std::unique_ptr<Global>>;
  return *all;
}

Loaders* known_loaders(CacheRegistry& registry, const std::shared_ptr<Executor>& executor) {
  const std::lock_guard lock(detail::fork_mutex());
  const auto found = all_global().find(&registry);
  if (found == all_global().end() || !found->second->is_of(executor)) return nullptr;
  return &found->second->loaders;
}

}  // namespace

Loaders& global_loaders() {
  CacheRegistry& registry = global_registry();
  const std::shared_ptr<Executor> executor = registry.executor();
  if (Loaders* const known = known_loaders(registry, executor)) return *known;
  // Not under the mutex: libraries are loaded, whose constructors may come here, too.
  auto fresh = std::make_unique<Global>(executor, registry);
  const std::lock_guard lock(detail::fork_mutex());
  std::unique_ptr<Global>& kept = all_global()[&registry];
  if (!kept || !kept->is_of(executor)) kept.swap(fresh);  // another thread may have been faster
  return kept->loaders;
}

}  // namespace polycache
