// Whether a function, and a call of a generic one, can be memoized; else, the single sentence that
// the compiler prints.

#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "polycache/detail/memoize_call.h"
#include "polycache/detail/memoize_parameters.h"
#include "polycache/detail/null_text.h"
#include "polycache/key_of.h"

namespace polycache::detail::memo {

template <class T>
inline constexpr bool is_address = std::is_pointer_v<T> && !std::same_as<T, const char*>;
// A by-value parameter that cannot be given a copy.
template <class A>
inline constexpr bool is_move_only = !std::is_reference_v<A> && !std::is_copy_constructible_v<A>;
template <class T>
inline constexpr bool is_sliced = std::is_polymorphic_v<T> && !std::is_final_v<T>;
// Whether a job can have an argument of its own.
template <class T>
inline constexpr bool can_be_owned = !std::same_as<typename Owned<T>::type, T> || keys::owns<T>();

template <class F>
constexpr void refuse_written_to() {
  static_assert(refused<F>,
                "polycache: memoize() takes no function with a parameter that it may change: a "
                "non-const reference, or the object of a member function that is not const");
}
template <class F>
constexpr void refuse_address() {
  static_assert(refused<F>,
                "polycache: a memoized function takes no pointer: an address is no key; take the "
                "value, or a reference to it, or say Ignoring<...> where it does not matter");
}
template <class F>
constexpr void refuse_view() {
  static_assert(refused<F>,
                "polycache: a function that is memoized in_background() keeps copies of its "
                "arguments, and this parameter would refer to the caller's: take a std::string "
                "for a std::string_view, a container for a span, no pointer, no base class");
}

template <class F>
constexpr void refuse_keyless() {
  static_assert(refused<F>,
                "polycache: an argument of this function has no text for the key: write "
                "std::string key_of(const T&) in its namespace (polycache/key_of.h)");
}

// Whether a function with these parameters can be memoized; else, one sentence of the compiler.
template <class F, class Ignored, bool in_background, class P>
struct Check {
  static constexpr bool fits() { return true; }  // a generic function: its calls are checked
};
template <class F, class Ignored, bool in_background, class... A>
struct Check<F, Ignored, in_background, List<A...>> {
  static constexpr bool fits() {
    constexpr auto positions = std::index_sequence_for<A...>();
    if constexpr ((is_written_to<A> || ...)) {
      refuse_written_to<F>();
    } else if constexpr ((std::is_rvalue_reference_v<A> || ...)) {
      static_assert(refused<F>,
                    "polycache: memoize() takes no function with a && parameter: take it by value");
    } else if constexpr (!Ignored::fits(sizeof...(A))) {
      static_assert(refused<F>,
                    "polycache: Ignoring<...> names a position that the function does not have; "
                    "the first parameter has the position 0");
    } else if constexpr (have_address(positions)) {
      refuse_address<F>();
    } else if constexpr ((is_move_only<A> || ...)) {
      static_assert(refused<F>,
                    "polycache: memoize() takes no function with a parameter that can only be "
                    "moved");
    } else if constexpr (in_background && ((!std::is_copy_constructible_v<Plain<A>> ||
                                            is_sliced<Plain<A>> || !can_be_owned<Plain<A>>) ||
                                           ...)) {
      refuse_view<F>();
    } else if constexpr (!std::is_invocable_v<const F&, const Plain<A>&...>) {
      static_assert(refused<F>,
                    "polycache: memoize() takes no function object that changes when it is called, "
                    "such as a mutable lambda: several threads may call it");
    } else if constexpr (std::is_void_v<std::invoke_result_t<const F&, const Plain<A>&...>>) {
      static_assert(refused<F>, "polycache: memoize() takes no function without a result");
    } else if constexpr (!have_keys(positions)) {
      refuse_keyless<F>();
    } else {
      return true;
    }
    return false;
  }

 private:
  template <std::size_t... i>
  static consteval bool have_address(std::index_sequence<i...>) {
    return ((is_address<Plain<A>> && !Ignored::has(i)) || ...);
  }
  template <std::size_t... i>
  static consteval bool have_keys(std::index_sequence<i...>) {
    return ((Ignored::has(i) || keys::has_text<Plain<A>>()) && ...);
  }
};

// The same for the types of one call's arguments, of a generic function.
template <class F, class Ignored, bool in_background, class... T>
struct CallCheck {
  static constexpr bool fits() {
    if constexpr (!Ignored::fits(sizeof...(T))) {
      static_assert(refused<F>,
                    "polycache: Ignoring<...> names a position that the call does not have; the "
                    "first argument has the position 0");
    } else if constexpr ((is_address<T> || ...)) {
      refuse_address<F>();
    } else if constexpr (in_background && ((is_sliced<T> || !can_be_owned<T>) || ...)) {
      refuse_view<F>();
    } else if constexpr (!have_keys(std::index_sequence_for<T...>())) {
      refuse_keyless<F>();
    } else {
      return true;
    }
    return false;
  }

 private:
  template <std::size_t... i>
  static consteval bool have_keys(std::index_sequence<i...>) {
    return ((Ignored::has(i) || keys::has_text<T>()) && ...);
  }
};

}  // namespace polycache::detail::memo
