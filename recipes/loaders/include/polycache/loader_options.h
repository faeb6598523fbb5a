// What a loader can be told (loaders.h). In a configuration each member has the same name, or the
// one in parentheses.

#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/detail/null_text.h"
#include "polycache/function.h"

namespace polycache {

// A function, or the name of one: "library:function", or registered (function.h).
class FunctionOrName {
 public:
  FunctionOrName() = default;  // none
  // NOLINTBEGIN(google-explicit-constructor): either is one
  template <class S>
  requires(std::convertible_to<const S&, std::string_view>)  //
      FunctionOrName(const S& name)
      : name_(text_of(name)) {}
  FunctionOrName(Function function) : name_(function.name()), function_(std::move(function)) {}
  template <class F>
  requires(!std::convertible_to<const F&, std::string_view> && !std::same_as<F, FunctionOrName> &&
           !std::same_as<F, Function>)  //
      FunctionOrName(F f)
      : function_(Function(std::move(f))) {}
  // NOLINTEND(google-explicit-constructor)

  bool is_given() const noexcept { return function_.has_value() || !name_.empty(); }
  // Empty: a function without a name.
  const std::string& name() const noexcept { return name_; }
  const std::optional<Function>& function() const noexcept { return function_; }

 private:
  template <class S>
  static std::string text_of(const S& name) {
    using Text = std::decay_t<S>;
    if constexpr (std::is_pointer_v<Text>) {
      return std::string(detail::text_of(static_cast<const char*>(name)));
    } else if constexpr (detail::PointerText<Text>) {
      return std::string(detail::text_of(name));  // does not compile
    } else {
      return std::string(std::string_view(name));
    }
  }

  std::string name_;
  std::optional<Function> function_;
};

struct LoaderOptions {
  std::string cache = "default";  // the alias

  // How long a value is fresh. This and the other times are at most 36500 days.
  std::chrono::milliseconds expires{300'000};
  // How long it is kept beyond that, for readers whose ticks are over and for a getter that throws:
  // they get the older value, the latter with a warning. Zero: it is not kept.
  std::chrono::milliseconds stale{60'000};

  // Whether one caller computes a value while the others wait for it, `ticks` times `tick` at most;
  // then they take the stale value, or compute, too. If false, no caller waits: one that finds a
  // computation under way takes the stale value, or computes, too. (is_concurrent, tick_amount)
  bool concurrent = true;
  int ticks = 10;
  std::chrono::milliseconds tick{100};
  // For callers in other processes that use the store: how long they leave the computation to one
  // of them, which may have died. Longer than the getter takes: a value that takes longer is not
  // stored, with a warning. Zero: each process computes. Needs a store that can compare, as all
  // stock stores can.
  std::chrono::milliseconds lease{300'000};

  // After relevance_expires, the next caller computes a value anew, and the others read the older
  // one meanwhile. (relevance_invalidation)
  bool relevance = false;
  std::chrono::milliseconds relevance_expires{60'000};

  // Stores with each value when it was made and until when it is fresh: get<CachedEntity<T>>().
  bool cached_entity = false;

  // Whether the log is written on the executor: a value may then be there before its log entry.
  // (delay_logging)
  bool log_in_background = false;
  // How many created entries the log keeps; 0: there is no log. In a configuration: "log".
  int log_size = 1000;
  // The alias that has the log. Empty: that of the values.
  std::string log_cache = {};

  // Whether invalidations run on the executor. One that waits when the executor ends is lost.
  bool delay_invalidation = false;

  // Each of them invalidates the values (tags.h).
  std::vector<std::string> tags = {};

  // A function of the arguments that returns a std::string, which is the key's part behind the
  // label. Without it, the key has all arguments, as the getter takes them (key_of.h).
  FunctionOrName key_gen = {};
};

}  // namespace polycache
