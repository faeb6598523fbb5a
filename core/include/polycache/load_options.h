// How get_or_set() keeps a value fresh: the options of one call, and the defaults of an alias.
//
//   auto page = cache.get_or_set("page:/", render, {.timeout = 10min, .refresh_after = 0.8});
//
//   fresh                refresh_after          timeout            timeout + stale_if_error
//   |---- hit -----------|---- hit, refreshed ---|---- stale --------|---- absent ---->
//
// A call that gives none of these options, on an alias without a "load" in its configuration,
// stores and reads plain values, and costs nothing for them. With one of them, the entry carries
// the times of its value. They are those of the machine that wrote it, so freshness may differ by
// what two machines' clocks differ.

#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "polycache/detail/export.h"
#include "polycache/detail/null_text.h"
#include "polycache/options.h"

namespace polycache {

// Switches an option off for one call, whatever the alias's configuration says:
// {.stale_if_error = polycache::off}.
struct Off {};
inline constexpr Off off{};

// A duration that a call gives, or switches off, or does not give. Accepts durations of every unit
// and number type; rounded up to milliseconds, as Timeout does it. More than 100 years count as 100
// years.
class Span {
 public:
  constexpr Span() noexcept = default;
  template <class Rep, class Period>
  constexpr Span(std::chrono::duration<Rep, Period> d)  // NOLINT: implicit by design
      : state_(State::given), value_(shortened(Timeout(d))) {}
  template <class T>
  requires std::is_arithmetic_v<T>
  constexpr Span(T) noexcept {  // NOLINT: never called
    static_assert(detail::refused<T>, "polycache: a number has no unit: write 30s or 100ms");
  }
  constexpr Span(Off) noexcept : state_(State::switched_off) {}  // NOLINT: implicit by design

  constexpr bool is_given() const noexcept { return state_ == State::given; }
  constexpr bool is_off() const noexcept { return state_ == State::switched_off; }
  constexpr bool is_said() const noexcept { return state_ != State::unsaid; }
  // Zero unless given.
  constexpr std::chrono::milliseconds value() const noexcept { return value_; }

  friend constexpr bool operator==(const Span&, const Span&) noexcept = default;

 private:
  enum class State : unsigned char { unsaid, switched_off, given };
  // Moments and sums of nanoseconds have room for it.
  static constexpr std::chrono::milliseconds most = std::chrono::hours{24 * 365 * 100};

  static constexpr std::chrono::milliseconds shortened(const Timeout& timeout) noexcept {
    return timeout.is_never() || timeout.value() > most ? most : timeout.value();
  }

  State state_ = State::unsaid;
  std::chrono::milliseconds value_{};
};

// The same, or a share of the entry's lifetime: {.refresh_after = 0.8} or {.refresh_after = 50s}.
// Not an integer: 50 would be 5000 %.
class Age {
 public:
  constexpr Age() noexcept = default;
  template <std::floating_point F>
  constexpr Age(F share) noexcept  // NOLINT: implicit by design
      : is_share_(true), share_(static_cast<double>(share)) {}
  template <class Rep, class Period>
  constexpr Age(std::chrono::duration<Rep, Period> d) : span_(d) {}  // NOLINT: implicit by design
  template <std::integral I>
  constexpr Age(I) noexcept {  // NOLINT: never called
    static_assert(detail::refused<I>,
                  "polycache: an age is a share such as 0.8, or a duration such as 50s");
  }
  constexpr Age(Off) noexcept : span_(off) {}  // NOLINT: implicit by design

  constexpr bool is_share() const noexcept { return is_share_; }
  constexpr bool is_given() const noexcept { return is_share_ || span_.is_given(); }
  constexpr bool is_off() const noexcept { return span_.is_off(); }
  constexpr bool is_said() const noexcept { return is_share_ || span_.is_said(); }
  // Zero unless it is a share.
  constexpr double share() const noexcept { return share_; }
  // Zero unless it is a duration.
  constexpr std::chrono::milliseconds value() const noexcept { return span_.value(); }

  friend constexpr bool operator==(const Age&, const Age&) noexcept = default;

 private:
  bool is_share_ = false;
  double share_ = 0;
  Span span_;
};

// What an alias says for every get_or_set(): the member "load" of its configuration. A member that
// is not said has the default in brackets.
struct LoadPolicy {
  Age refresh_after = {};            // [off]
  Span stale_if_error = {};          // [off]
  Span throttle = {};                // [30 s]
  std::optional<double> early = {};  // [0]
  Age jitter = {};                   // [off]
  Span soft_limit = {};              // [off]
  Span hard_limit = {};              // [off]
  Timeout negative_timeout = {};     // [not kept]
  Span lease = {};                   // [off]

  friend bool operator==(const LoadPolicy&, const LoadPolicy&) noexcept = default;
};

// get_or_set(), get_or_set_many(). What a call does not say, the alias's LoadPolicy decides.
// Options that contradict each other throw ValueError before the store is asked.
struct LoadOptions {
  Timeout timeout = {};  // how long the value is fresh
  detail::Version version = std::nullopt;
  Tags tags = {};            // their versions are read before the computation
  bool record_tags = false;  // adds the tags of every entry that the computation reads

  // Beyond this age, or this share of the lifetime (between 0 and 1), one caller computes the value
  // anew and the others read on: on another thread if the function is in_background()
  // (load.h), else before it returns. A computation that fails is repeated after 1 s, then 2 s, 4 s
  // and so on up to `throttle`. Does nothing for a value that never expires; a share that a call
  // gives for such a value is an error, here and in `jitter`. A duration longer than the lifetime
  // never refreshes.
  Age refresh_after = {};
  // How long the value is kept beyond its lifetime, for when the computation fails (throws, or
  // load.fail()). The stale value is then returned, with a warning.
  Span stale_if_error = {};
  // How long a stale value is returned before the next computation is tried. Of this process.
  Span throttle = {};
  // XFetch: compute at random before the value expires, the more likely the nearer that is and the
  // longer the computation took. 1 is optimal, larger is earlier, 0 is off. Needs no coordination
  // between processes. Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede
  // Prevention, VLDB 2015. Not together with refresh_after.
  std::optional<double> early = {};
  // Shortens each lifetime at random by up to so much, so that entries written together do not
  // expire together. A share below 1, or a duration, of which at most half the lifetime counts.
  Age jitter = {};
  // How long the caller waits for the computation of a function that is in_background(), if there
  // is a stale value to return. The computation goes on, and its result is stored.
  Span soft_limit = {};
  // How long the caller waits in any case: then it gets the stale value, or TimeoutError. Longer
  // than soft_limit.
  Span hard_limit = {};
  // How long to remember that there is no such thing: a function that returns an empty optional or
  // Loaded (load.h). Not given, or zero: it is not remembered.
  Timeout negative_timeout = {};
  // One computation in all processes that use the store: the one that is to compute takes a lease
  // of the key in the store, for so long. The others wait for its value, or until the lease ends
  // because its process died, but no longer than 30 s: give a lease that is longer than the
  // computation takes and clearly shorter than that. No caller waits while a value is refreshed. If
  // the computation of another process failed and there is a stale value that the caller accepts,
  // that is returned. A write or an erasure of the key, or of a tag, during the computation, in any
  // process, means that the result is returned and not stored; so does, where no value was to be
  // refreshed, a computation that outlasts its lease, with a warning. A computation inside another
  // one never waits.
  //
  // In a store that only this process uses (CacheInfo::is_private), this does nothing: its threads
  // share their computations anyway. Other stores must be able to compare, as all stock stores are;
  // else a call throws BackendError of the kind unsupported, and a configuration is refused.
  Span lease = {};
  // How long the caller waits while another thread computes the value, or with a lease another
  // process [30 s]. Then it returns the stale value where there is one (stale_if_error), else it
  // computes the value itself. Zero or off: it does not wait. Of a call, not of an alias, and not
  // for get_or_set_many().
  Span wait = {};
};

}  // namespace polycache
