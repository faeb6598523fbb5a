// A call of a memoized function, and how a job that runs it later keeps its arguments.

#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "polycache/key.h"

namespace polycache::detail::memo {

// How a job keeps an argument: a text, or what a span refers to, by value.
template <class T>
struct Owned {
  using type = T;
  static const T& as_argument(const T& owned) noexcept { return owned; }
};
template <>
struct Owned<std::string_view> {
  using type = std::string;
  static std::string_view as_argument(const std::string& owned) noexcept { return owned; }
};
template <>
struct Owned<const char*> {
  using type = std::string;
  static const char* as_argument(const std::string& owned) noexcept { return owned.c_str(); }
};
template <class T>
struct Owned<std::span<const T>> {
  using type = std::vector<T>;
  static std::span<const T> as_argument(const type& owned) noexcept { return owned; }
};
template <class T>
typename Owned<T>::type owned_copy(const T& argument) {
  if constexpr (std::same_as<typename Owned<T>::type, T>) {
    return argument;
  } else if constexpr (std::same_as<T, const char*>) {
    return std::string(KeyView(argument).text());
  } else {
    return typename Owned<T>::type(argument.begin(), argument.end());
  }
}

// A call of the function. Refers to its arguments; a copy has its own, so that a job can run it.
template <class F, class... Ts>
class Call {
 public:
  Call(const std::shared_ptr<const F>& function, const Ts&... arguments) noexcept
      : function_(&function), arguments_(&arguments...) {}
  Call(const Call& other) : owned_(other.owned_) {
    if (owned_) return;
    owned_ = std::apply(
        [&](const auto*... argument) {
          return std::make_shared<const Own>(
              Own{*other.function_, std::tuple(owned_copy<Ts>(*argument)...)});
        },
        other.arguments_);
  }
  Call(Call&&) noexcept = default;
  Call& operator=(const Call&) = delete;

  decltype(auto) operator()() const {
    if (!owned_) {
      return std::apply(
          [&](const auto*... argument) -> decltype(auto) {
            return std::invoke(**function_, *argument...);
          },
          arguments_);
    }
    return std::apply(
        [&](const auto&... argument) -> decltype(auto) {
          return std::invoke(*owned_->function, Owned<Ts>::as_argument(argument)...);
        },
        owned_->arguments);
  }

 private:
  struct Own {
    std::shared_ptr<const F> function;
    std::tuple<typename Owned<Ts>::type...> arguments;
  };

  const std::shared_ptr<const F>* function_ = nullptr;
  std::tuple<const Ts*...> arguments_;
  std::shared_ptr<const Own> owned_;
};

}  // namespace polycache::detail::memo
