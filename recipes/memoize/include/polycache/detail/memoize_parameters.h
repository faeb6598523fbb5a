// What a function that is to be memoized takes and returns, read off its type.

#pragma once

#include <concepts>
#include <type_traits>
#include <vector>

#include "polycache/load.h"

namespace polycache::detail::memo {

template <class... Ts>
struct List {};

// The parameters of a function. Void: it is generic, or overloaded.
template <class F>
struct ParametersOf {
  using type = void;
};
template <class R, class... A>
struct ParametersOf<R (*)(A...)> {
  using type = List<A...>;
};
template <class R, class... A>
struct ParametersOf<R (*)(A...) noexcept> : ParametersOf<R (*)(A...)> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) const> {
  using type = List<const C&, A...>;
};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) const noexcept> : ParametersOf<R (C::*)(A...) const> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) const&> : ParametersOf<R (C::*)(A...) const> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) const& noexcept> : ParametersOf<R (C::*)(A...) const> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...)> {
  using type = List<C&, A...>;
};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) noexcept> : ParametersOf<R (C::*)(A...)> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...)&> : ParametersOf<R (C::*)(A...)> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...)& noexcept> : ParametersOf<R (C::*)(A...)> {};

template <class L>
struct WithoutFirst {
  using type = void;
};
template <class T, class... Ts>
struct WithoutFirst<List<T, Ts...>> {
  using type = List<Ts...>;
};
template <class F>
requires requires { &F::operator(); }
struct ParametersOf<F> {
  using type = typename WithoutFirst<typename ParametersOf<decltype(&F::operator())>::type>::type;
};

// What is called, and whether it may be called on another thread.
template <class F>
struct Given {
  using Function = F;
  static constexpr bool in_background = false;
};
template <class F>
struct Given<Background<F>> {
  using Function = F;
  static constexpr bool in_background = true;
};

template <class A>
using Plain = std::remove_cvref_t<A>;
template <class A>
inline constexpr bool is_written_to =
    std::is_lvalue_reference_v<A> && !std::is_const_v<std::remove_reference_t<A>>;

// The argument of a function that takes several at once, a vector or a span; void for another one.
template <class P>
struct BatchOf {
  using Argument = void;
};
template <class C>
requires requires { typename Plain<C>::value_type; }
struct BatchOf<List<C>> {
  using V = std::remove_const_t<typename Plain<C>::value_type>;
  using Argument =
      std::conditional_t<std::convertible_to<const std::vector<V>&, C> && !is_written_to<C>, V,
                         void>;
};

// Its results: in a vector, in the order of the arguments, or in a map.
template <class M>
struct ValueIn {
  using type = typename MaybeOf<typename M::value_type>::type;
};
template <class M>
requires requires { typename M::mapped_type; }
struct ValueIn<M> {
  using type = typename MaybeOf<typename M::mapped_type>::type;
};

}  // namespace polycache::detail::memo
