// What memoize() and memoize_many() do: they check the function, and make an object for it.

#pragma once

#include <type_traits>
#include <utility>

#include "polycache/cache.h"
#include "polycache/detail/memoize_checks.h"
#include "polycache/detail/memoize_parameters.h"
#include "polycache/detail/null_text.h"
#include "polycache/key.h"
#include "polycache/key_of.h"
#include "polycache/load_options.h"
#include "polycache/memoize_options.h"

namespace polycache {

template <class F, class P, class Ignored, bool in_background>
class Memoized;
template <class F>
class MemoizedMany;

namespace detail::memo {

// What memoize() returns after a sentence of the compiler, so that there is only that one.
struct Refused {
  template <class... A>
  int operator()(A&&...) const;
};

template <class Ignored, class Take>
auto make(Cache* cache, KeyView name, Take function, LoadOptions options, MemoizeOptions memo) {
  using F = typename Given<Take>::Function;
  using P = typename ParametersOf<F>::type;
  constexpr bool in_background = Given<Take>::in_background;
  if constexpr (!Check<F, Ignored, in_background, P>::fits()) {
    return Refused();
  } else if constexpr (in_background) {
    return Memoized<F, P, Ignored, true>(cache, name, std::move(function).function(),
                                         std::move(options), std::move(memo));
  } else {
    return Memoized<F, P, Ignored, false>(cache, name, std::move(function), std::move(options),
                                          std::move(memo));
  }
}

template <class F>
auto make_many(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo) {
  using Argument = typename BatchOf<typename ParametersOf<F>::type>::Argument;
  if constexpr (std::is_void_v<Argument>) {
    static_assert(refused<F>,
                  "polycache: memoize_many() takes a function of one argument: a const "
                  "std::vector<T>& or a std::span<const T>");
    return Refused();
  } else if constexpr (!keys::has_text<Argument>()) {
    refuse_keyless<F>();
    return Refused();
  } else {
    return MemoizedMany<F>(cache, name, std::move(function), std::move(options), std::move(memo));
  }
}

}  // namespace detail::memo
}  // namespace polycache
