#pragma once

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "polycache/detail/export.h"

namespace polycache {

template <class Signature>
class FunctionRef;

// A callable passed by reference: two words, no allocation, no ownership. Use it only for
// parameters; it is valid during the call it is passed to. Accepts anything that can be called with
// Args, free functions included; if R is void, the result is dropped. (std::function_ref of C++26,
// reduced to what we need; trivially copyable, so safe across plugins.)
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): implicit by design
  FunctionRef(R (*function)(Args...)) noexcept : call_(call_function) {
    target_.function = reinterpret_cast<void (*)()>(function);
  }

  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> &&
           !std::is_function_v<std::remove_reference_t<F>> && std::is_invocable_r_v<R, F&, Args...>)
      FunctionRef(F&& f)
  noexcept  // NOLINT(google-explicit-constructor): implicit by design
      : call_(call_object<std::remove_reference_t<F>>) {
    target_.object = const_cast<void*>(static_cast<const void*>(std::addressof(f)));
  }

  R operator()(Args... args) const { return call_(target_, std::forward<Args>(args)...); }

 private:
  union Target {
    void* object;
    void (*function)();
  };

  static R call_function(Target target, Args... args) {
    return reinterpret_cast<R (*)(Args...)>(target.function)(std::forward<Args>(args)...);
  }
  template <class F>
  [[gnu::hot]] static R call_object(Target target, Args... args) {
    F& callable = *static_cast<F*>(target.object);
    if constexpr (std::is_void_v<R>) {
      std::invoke(callable, std::forward<Args>(args)...);
    } else {
      return std::invoke(callable, std::forward<Args>(args)...);
    }
  }

  Target target_;
  R (*call_)(Target, Args...);
};

}  // namespace polycache
