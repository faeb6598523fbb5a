// What a function that is to be memoized takes and returns, read off its type.

#pragma once

#include <concepts>
#include <functional>
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

template <class F>
inline constexpr bool is_std_function = false;
template <class S>
inline constexpr bool is_std_function<std::function<S>> = true;

template <class A>
using Plain = std::remove_cvref_t<A>;
template <class A>
inline constexpr bool is_written_to =
    std::is_lvalue_reference_v<A> && !std::is_const_v<std::remove_reference_t<A>>;

// Whether there is no function to call: a pointer, or a std::function, may have none.
template <class F>
constexpr bool is_null(const F& f) noexcept {
  if constexpr (std::is_pointer_v<F> || std::is_member_pointer_v<F> || is_std_function<F>) {
    return f == nullptr;
  } else {
    return false;
  }
}

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
