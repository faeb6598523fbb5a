// A function that runs at most so often, in all programs that share a store: callers wait for
// their turn.
//
//   polycache::Throttle send("mail", send_mail, {.limit = 10, .period = 1s});
//   send("ada@example.org", text);  // waits if ten were sent within the last second
//
// A RateLimiter with a token bucket; rate_limiter.h says what holds for stores, threads, evictions
// and clocks. If the store fails, a call throws BackendError and the function does not run.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "polycache/key.h"
#include "polycache/rate_limiter.h"

namespace polycache {

struct ThrottleOptions {
  std::int64_t limit = 0;              // calls in a period; to be given
  std::chrono::milliseconds period{};  // to be given
  std::string cache = "default";       // the alias
  CacheRegistry* registry = nullptr;   // [that of polycache::caches]
};

namespace detail {

// What a throttle does that does not depend on its function.
class ThrottleTurns {
 public:
  const std::string& name() const noexcept { return limiter_.name(); }

  // Sleeps until it is this caller's turn, which is then taken. Callers are not served in the
  // order in which they came.
  void wait() const;

 protected:
  ThrottleTurns(KeyView name, ThrottleOptions options);
  ThrottleTurns(Cache& cache, KeyView name, ThrottleOptions options);

  bool try_take() const;

 private:
  RateLimiter limiter_;
};

}  // namespace detail

template <class F>
class Throttle : public detail::ThrottleTurns {
 public:
  // Throws as RateLimiter's constructor does.
  Throttle(KeyView name, F function, ThrottleOptions options)
      : ThrottleTurns(name, std::move(options)), function_(std::move(function)) {}
  Throttle(Cache& cache, KeyView name, F function, ThrottleOptions options)
      : ThrottleTurns(cache, name, std::move(options)), function_(std::move(function)) {}

  // Waits for a turn, then calls the function and returns its result. A call that throws has used
  // its turn.
  template <class... Arguments>
  requires std::invocable<const F&, Arguments...> std::invoke_result_t<const F&, Arguments...>
  operator()(Arguments&&... arguments) const {
    wait();
    return std::invoke(function_, std::forward<Arguments>(arguments)...);
  }

  // Calls the function if it may run now. Returns whether it did, or of a function with a result
  // that result, or nothing.
  template <class... Arguments>
  requires std::invocable<const F&, Arguments...>
  auto try_call(Arguments&&... arguments) const {
    using Returned = std::invoke_result_t<const F&, Arguments...>;
    const bool may = try_take();
    if constexpr (std::is_void_v<Returned>) {
      if (may) std::invoke(function_, std::forward<Arguments>(arguments)...);
      return may;
    } else {
      std::optional<std::remove_cvref_t<Returned>> result;
      if (may) result.emplace(std::invoke(function_, std::forward<Arguments>(arguments)...));
      return result;
    }
  }

  // The function alone.
  const F& original() const noexcept { return function_; }

 private:
  F function_;
};

}  // namespace polycache
