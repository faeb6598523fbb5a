// Loaders: functions whose results are cached under a label, which a program or a configuration
// file declares.
//
//   polycache::Loaders loaders{registry};
//   loaders.add("all_foos", get_all_foos, {.expires = 100'000s});
//   loaders.add("filtered_foos", "./libshop.so:filter_foos", {.relevance = true});
//
//   Foos foos = loaders["filtered_foos"].get<Foos>(3, "red");
//   loaders["filtered_foos"].invalidate(3, "red");
//
// or in the configuration, next to "caches":
//
//   "loader_defaults": {"expires": "1h"},
//   "loaders": {"filtered_foos": {"structure_getter": "./libshop.so:filter_foos", "ticks": 5}}
//
// Without a registry of its own, a program uses that of polycache::caches:
//
//   polycache::global_loaders().add("all_foos", get_all_foos);
//   Foos foos = polycache::load<Foos>("all_foos");
//
// The getter is a function by name (function.h): arguments are converted to its parameters, and its
// result must be what get<R>() names, a type with a Codec. It may be called by several threads at
// once. The value is stored as get_or_set() does it, under "label:3:red"; a getter that returns an
// optional can say that there is no such thing, which is remembered as long as a value.
// loader_options.h has the options.
//
// Each value that is computed is written to the log of its label (loader_log.h), in a cache: by
// incr() and set(), before the value itself, so that invalidate_if() finds every value whose log
// entry the cache still has. A log that cannot be written does not make a call fail; describe()
// counts it, and invalidate_if() says that the log was cut.
//
// Thread-safe, and usable in a child of fork(). A Loaders, its Loader objects and what they have
// posted to the executor use the registry, which must outlive the first two.

#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/cache.h"
#include "polycache/cached_entity.h"
#include "polycache/detail/loader_state.h"
#include "polycache/detail/null_text.h"
#include "polycache/function.h"
#include "polycache/loader_log.h"
#include "polycache/loader_options.h"

namespace polycache {

// One loader. A copy is the same one; it stays what it was when a reload changes its declaration.
class Loader {
 public:
  const std::string& label() const noexcept { return state_->label(); }

  // The value for these arguments: that of the cache, or computed and stored. R is the getter's
  // result; with LoaderOptions::cached_entity also CachedEntity<R>. Throws ConfigError if the
  // arguments or R do not fit the getter, ValueError if a number would lose by its conversion, what
  // the getter throws, and what get_or_set() throws.
  template <class R, class... A>
  R get(const A&... arguments) const {
    using Wanted = detail::Wanted<R>;
    using Made = typename Wanted::Made;
    using Entity = typename Wanted::Entity;
    const Function& getter = state_->getter();
    const std::string encoded = getter.encode<Made>(arguments...);
    const std::string key = key_for(encoded, arguments...);
    Cache& cache = state_->cache();
    const auto make = [&]() -> Made {
      return getter.template decode<Made>(state_->compute(key, encoded));
    };
    if (!state_->has_entities()) {
      if constexpr (Wanted::is_entity) {
        state_->refuse_entity();
      } else {
        return cache.get_or_set(key, make, state_->load_options());
      }
    }
    const auto make_entity = [&]() -> Entity { return with_times(make()); };
    Entity entity = cache.get_or_set(key, make_entity, state_->load_options());
    if constexpr (Wanted::is_entity) {
      return entity;
    } else if constexpr (detail::is_optional<R>) {
      return entity ? R(std::move(entity->value)) : std::nullopt;
    } else {
      return std::move(entity.value);
    }
  }

  // The key of the value, as the cache of the loader takes it.
  template <class... A>
  std::string key(const A&... arguments) const {
    if (const auto& generator = state_->key_generator()) {
      return state_->key_of_generated(generator->call<std::string>(arguments...));
    }
    return state_->key_of(state_->getter().key(arguments...));
  }

  // Removes the value for these arguments; one that is being computed is not stored. Throws
  // BackendError if the store failed, unless it is delayed.
  template <class... A>
  Invalidation invalidate(const A&... arguments) const {
    return state_->invalidate(key(arguments...));
  }
  // Removes every value whose log entry is still there and for which the predicate is true. It may
  // be called on another thread, and must not use this loader. Says if the log had been cut. The
  // predicate also sees what this process computes at the moment, with number 0: that is not
  // stored. What another process computes is found once its getter has returned.
  Invalidation invalidate_if(LogPredicate predicate) const {
    return state_->invalidate_if(std::move(predicate));
  }
  // Makes every value of this label absent, in all processes, with or without a log: a new version
  // of the label, which each value carries as a tag.
  Invalidation invalidate_all() const { return state_->invalidate_all(); }

  // A page of the log. Throws BackendError if the store failed, whatever "on_error" is; entries
  // that it did not return afterwards count as lost.
  LogPage log(LogQuery query = {}) const { return state_->log(query); }

 private:
  friend class Loaders;
  explicit Loader(std::shared_ptr<const detail::LoaderState> state) : state_(std::move(state)) {}

  template <class... A>
  std::string key_for(const std::string& encoded, const A&... arguments) const {
    if (state_->key_generator()) return key(arguments...);
    return state_->key_of(state_->getter().key_of_encoded(encoded));
  }
  template <class T>
  CachedEntity<T> with_times(T value) const {
    // By the clock that CachedEntity::left() reads.
    const auto now =
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    return {std::move(value), now, now + state_->options().expires};
  }
  template <class T>
  std::optional<CachedEntity<T>> with_times(std::optional<T> value) const {
    if (!value) return std::nullopt;
    return with_times(std::move(*value));
  }

  std::shared_ptr<const detail::LoaderState> state_;
};

// The loaders of a registry: those of its configuration, and those that the program adds.
class Loaders {
 public:
  // Reads the sections "loader_defaults" and "loaders" of the configuration, now and after each
  // reload. Throws ConfigError that lists every problem: a getter that is not found, an unknown
  // alias, a label used twice. After a reload with such a problem, the older loaders stay, and the
  // problem is a warning. Linking this recipe claims both sections for the process.
  explicit Loaders(CacheRegistry& registry);
  Loaders(const Loaders&) = delete;
  Loaders& operator=(const Loaders&) = delete;
  ~Loaders();

  // Declares a loader in code, with `loader_defaults` only where the options are not given at all.
  // The getter is a function, or the name of one. Throws ConfigError if the label is used already,
  // is empty, has more than 100 bytes, a blank, a control character, ':' or '@'; if an option
  // cannot be; or if a function or an alias is not found.
  Loader add(std::string label, const FunctionOrName& getter, LoaderOptions options);
  Loader add(std::string label, const FunctionOrName& getter);
  template <detail::PointerText S>
  Loader add(S label, const FunctionOrName& getter, LoaderOptions options) {
    return add(std::string(detail::text_of(label)), getter, std::move(options));
  }
  template <detail::PointerText S>
  Loader add(S label, const FunctionOrName& getter) {
    return add(std::string(detail::text_of(label)), getter);
  }

  // Throws ConfigError for an unknown label, with those that are known.
  Loader operator[](std::string_view label) const;
  template <detail::PointerText S>
  Loader operator[](S label) const {
    return (*this)[detail::text_of(label)];
  }
  bool contains(std::string_view label) const;
  template <detail::PointerText S>
  bool contains(S label) const {
    return contains(detail::text_of(label));
  }

  std::vector<LoaderInfo> describe() const;  // by label

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// The loaders of polycache::caches. In a test with a ScopedGlobalRegistry, those of its registry.
// Throws as the constructor does. Never destroyed. Thread-safe.
Loaders& global_loaders();

// global_loaders()[label].get<R>(arguments...).
template <class R, class... A>
R load(std::string_view label, const A&... arguments) {
  return global_loaders()[label].template get<R>(arguments...);
}
template <class R, detail::PointerText S, class... A>
R load(S label, const A&... arguments) {
  return load<R>(detail::text_of(label), arguments...);
}

}  // namespace polycache
