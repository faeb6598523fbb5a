// Functions that remember their results in a cache.
//
//   auto area = polycache::memoize("area", compute_area, {.timeout = 1h, .tags = {"geo"}});
//   double a = area(3, 4);        // computes compute_area(3, 4), or reads what it has returned
//   area.invalidate(3, 4);        // the next call computes
//   area.refresh(3, 4);           // computes now, and stores
//
//   auto users = polycache::memoize_many("user", load_users, {.timeout = 1h});
//   std::vector<std::optional<User>> found = users({1, 2, 3});   // loads the absent ones in one
//   call
//
// The function may be a function, a lambda, a std::function or a const member function, whose
// object is then the first argument. Its arguments are converted to its parameters before they
// become the key, so area(3, 4) and area(3.0, 4.0) are one call if the parameters are doubles.
// Defaults of parameters are lost: wrap them in a lambda. Of an overloaded function, say which: a
// lambda, or a static_cast.
//
// The key is "name@1", where 1 is the version, and the arguments, as polycache::key() joins them
// (key_of.h says how each becomes a text): area.key(3, 4) is "area@1:3:4". A key of more than 200
// bytes is "name@1:%#" and 128 bits of the SHA-256 of the arguments. The name is yours, since C++
// has no name of a function that would be the same in another program; raise the version when the
// function changes.
//
// The result is stored as get_or_set() does it, with its options; a function that returns an
// optional or a Loaded can say that there is no such thing (load.h). It runs where it is called.
// One that is given as in_background(f) owns its captures: refresh_after, early, soft_limit and
// hard_limit may run it on the registry's executor, with copies of its arguments. Without it,
// soft_limit and hard_limit are a ValueError at the first call, as for get_or_set().
//
// A memoized function can be copied. One that is made with an alias may be used by all threads at
// once, if the function may; one that is made with a Cache belongs to that cache's thread. Neither
// must be used after its registry has ended.
//
// What else memoize() can be told is in memoize_options.h.

#pragma once

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/cache.h"
#include "polycache/detail/memoize_base.h"
#include "polycache/detail/memoize_checks.h"
#include "polycache/detail/memoize_make.h"
#include "polycache/detail/memoize_parameters.h"
#include "polycache/detail/refusals.h"
#include "polycache/key.h"
#include "polycache/load_options.h"
#include "polycache/memoize_options.h"

namespace polycache {

// A function with its results in a cache. Made by memoize(). P: a list of its parameters.
template <class F, class P, class Ignored, bool in_background>
class Memoized;

template <class F, class... A, class Ignored, bool in_background>
class Memoized<F, detail::memo::List<A...>, Ignored, in_background>
    : public detail::memo::Calls<F, Ignored, in_background> {
  using Calls = detail::memo::Calls<F, Ignored, in_background>;
  template <class T>
  using Plain = detail::memo::Plain<T>;

 public:
  using Value = typename Calls::template Value<Plain<A>...>;

  Memoized(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo)
      : Calls(cache, name, std::move(function), std::move(options), std::move(memo)) {}

  // The function's result for these arguments: that of the cache, or computed and stored. Throws
  // what the function throws, and what get_or_set() throws.
  auto operator()(A... arguments) const { return this->template load<Plain<A>...>(arguments...); }

  // Removes the result, and computes it anew, as a call does; other callers wait for it. With
  // stale_if_error the older result stays as a fallback, which then also refresh() returns. Throws
  // BackendError if the older one could not be removed.
  auto refresh(A... arguments) const { return this->template reload<Plain<A>...>(arguments...); }

  // The result that is in the cache, or nothing.
  std::optional<Value> get(A... arguments) const {
    return this->template find<Plain<A>...>(arguments...);
  }
  // Stores a result that the caller knows, as Cache::set() does: for the timeout and with the tags;
  // it is not refreshed early, and is no fallback. Returns whether it is stored.
  bool set(const Value& value, A... arguments) const {
    return this->template store<Value, Plain<A>...>(value, arguments...);
  }
  // Removes the result; one that is being computed is not stored. Returns whether the store had an
  // entry.
  bool invalidate(A... arguments) const { return this->template forget<Plain<A>...>(arguments...); }
  // The key of the result, as the other operations of the cache take it.
  std::string key(A... arguments) const {
    return this->template key_for<Ignored, Plain<A>...>(arguments...);
  }
  // Calls the function, and neither reads nor stores.
  decltype(auto) original(A... arguments) const {
    return this->template call<Plain<A>...>(arguments...);
  }

  // Erases the results for all arguments that this version of the function has in the cache.
  // Returns how many entries went; one whose computation runs in another process under a lease
  // counts. Throws BackendError if the store cannot list its keys (memcached without the protocol
  // "ascii"); give the function a tag there, and erase that.
  using Calls::invalidate_all;
  // And name(), which it was given.
};

// The same for a generic function: the arguments are those of each call.
template <class F, class Ignored, bool in_background>
class Memoized<F, void, Ignored, in_background>
    : public detail::memo::Calls<F, Ignored, in_background> {
  using Calls = detail::memo::Calls<F, Ignored, in_background>;
  template <class T>
  using Taken = std::decay_t<const T&>;

  template <class... T>
  using Check = detail::memo::CallCheck<F, Ignored, in_background, T...>;

 public:
  Memoized(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo)
      : Calls(cache, name, std::move(function), std::move(options), std::move(memo)) {}

  template <class... A>
  auto operator()(const A&... arguments) const {
    if constexpr (Check<Taken<A>...>::fits()) {
      return this->template load<Taken<A>...>(arguments...);
    } else {
      return 0;
    }
  }
  template <class... A>
  auto refresh(const A&... arguments) const {
    if constexpr (Check<Taken<A>...>::fits()) {
      return this->template reload<Taken<A>...>(arguments...);
    } else {
      return 0;
    }
  }
  template <class... A>
  auto get(const A&... arguments) const {
    return this->template find<Taken<A>...>(arguments...);
  }
  template <class V, class... A>
  bool set(const V& value, const A&... arguments) const {
    using Value = typename Calls::template Value<Taken<A>...>;
    return this->template store<Value, Taken<A>...>(value, arguments...);
  }
  template <class... A>
  bool invalidate(const A&... arguments) const {
    return this->template forget<Taken<A>...>(arguments...);
  }
  template <class... A>
  std::string key(const A&... arguments) const {
    return this->template key_for<Ignored, Taken<A>...>(arguments...);
  }
  template <class... A>
  decltype(auto) original(const A&... arguments) const {
    return this->template call<Taken<A>...>(arguments...);
  }

  using Calls::invalidate_all;
};

// Throws ValueError for a name that is empty, of more than 150 bytes, or has a blank, a control
// character or '@', and for a function that is a null pointer or an empty std::function. The
// options are those of get_or_set(), or a timeout alone; contradictions are found by the first
// call.
template <class Ignored = Ignoring<>, class F>
auto memoize(KeyView name, F function, LoadOptions options = {}, MemoizeOptions memo = {}) {
  return detail::memo::make<Ignored>(nullptr, name, std::move(function), std::move(options),
                                     std::move(memo));
}
template <class Ignored = Ignoring<>, class F, TimeoutLike D>
auto memoize(KeyView name, F function, const D& timeout, MemoizeOptions memo = {}) {
  return memoize<Ignored>(name, std::move(function), LoadOptions{.timeout = timeout},
                          std::move(memo));
}
// With one thread's cache; the alias and the registry in `memo` are not used.
template <class Ignored = Ignoring<>, class F>
auto memoize(Cache& cache, KeyView name, F function, LoadOptions options = {},
             MemoizeOptions memo = {}) {
  return detail::memo::make<Ignored>(&cache, name, std::move(function), std::move(options),
                                     std::move(memo));
}

// A function that computes the results of several arguments in one call, which is given those that
// have none in the cache. Made by memoize_many(). The function runs where it is called.
template <class F>
class MemoizedMany : public detail::memo::Base {
 public:
  using Argument =
      typename detail::memo::BatchOf<typename detail::memo::ParametersOf<F>::type>::Argument;
  using Made = std::remove_cvref_t<std::invoke_result_t<const F&, const std::vector<Argument>&>>;
  using Value = typename detail::memo::ValueIn<Made>::type;

  MemoizedMany(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo)
      : Base(cache, name, std::move(options), std::move(memo)),
        function_(std::make_shared<const F>(std::move(function))) {
    this->require(*function_);
  }

  // The results, in the order of the arguments; empty: there is no such thing. Throws as
  // get_or_set_many() does; a PartialLoad names the keys.
  std::vector<std::optional<Value>> operator()(std::span<const Argument> arguments) const {
    return load(arguments, keys_of(arguments));
  }
  std::vector<std::optional<Value>> operator()(std::initializer_list<Argument> arguments) const {
    return (*this)(std::span(arguments.begin(), arguments.size()));
  }
  // Removes the results, and computes them anew in one call.
  std::vector<std::optional<Value>> refresh(std::span<const Argument> arguments) const {
    const std::vector<std::string> keys = keys_of(arguments);
    for (const std::string& one : keys) retire(one);
    return load(arguments, keys);
  }
  // Calls the function, and neither reads nor stores.
  Made original(const std::vector<Argument>& arguments) const {
    return std::invoke(*function_, arguments);
  }

  // As those of Memoized.
  std::optional<Value> get(const Argument& argument) const {
    return cache().template get<Value>(key(argument), {.version = options().version});
  }
  bool set(const Value& value, const Argument& argument) const {
    return cache().set(
        key(argument), value,
        {.timeout = options().timeout, .version = options().version, .tags = options().tags});
  }
  bool invalidate(const Argument& argument) const {
    return cache().erase(key(argument), {.version = options().version});
  }
  std::string key(const Argument& argument) const {
    return this->template key_for<Ignoring<>>(argument);
  }

  using Base::invalidate_all;

 private:
  std::vector<std::string> keys_of(std::span<const Argument> arguments) const {
    std::vector<std::string> keys;
    keys.reserve(arguments.size());
    for (const Argument& argument : arguments) keys.push_back(key(argument));
    return keys;
  }

  std::vector<std::optional<Value>> load(std::span<const Argument> arguments,
                                         const std::vector<std::string>& keys) const {
    std::map<std::string_view, const Argument*> by_key;
    for (std::size_t i = 0; i < keys.size(); ++i) by_key.emplace(keys[i], &arguments[i]);
    const auto load_absent = [&](std::span<const std::string> absent) {
      std::vector<Argument> wanted;
      wanted.reserve(absent.size());
      for (const std::string& one : absent) wanted.push_back(*by_key.find(one)->second);
      Made made = std::invoke(*function_, wanted);
      if constexpr (requires { typename Made::mapped_type; }) {
        std::vector<std::optional<Value>> values(wanted.size());
        for (std::size_t i = 0; i < wanted.size(); ++i) {
          const auto found = made.find(wanted[i]);
          if (found != made.end()) values[i] = std::move(found->second);
        }
        return values;
      } else {
        return made;
      }
    };
    return cache().template get_or_set_many<Value>(keys, load_absent, options());
  }

  std::shared_ptr<const F> function_;
};

// `function` takes a std::vector or std::span of arguments, and returns a vector of results in that
// order (T or std::optional<T>) or a map from arguments to results. soft_limit and hard_limit are a
// ValueError at the first call, as for get_or_set_many(). Throws as memoize() does.
template <class F>
auto memoize_many(KeyView name, F function, LoadOptions options = {}, MemoizeOptions memo = {}) {
  return detail::memo::make_many(nullptr, name, std::move(function), std::move(options),
                                 std::move(memo));
}
template <class F>
auto memoize_many(Cache& cache, KeyView name, F function, LoadOptions options = {},
                  MemoizeOptions memo = {}) {
  return detail::memo::make_many(&cache, name, std::move(function), std::move(options),
                                 std::move(memo));
}

}  // namespace polycache
