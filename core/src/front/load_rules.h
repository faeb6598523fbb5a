// What holds for one get_or_set(): its options, and where they say nothing, those of the alias.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "front/entry.h"
#include "polycache/author/backend.h"
#include "polycache/author/clock.h"
#include "polycache/author/function_ref.h"
#include "polycache/load_options.h"

namespace polycache {

// When a value that is fresh should be computed anew.
struct RefreshRule {
  Age after = {};    // given, or not
  double early = 0;  // of those that exclude each other, one is off
};

struct LoadRules {
  RefreshRule refresh = {};
  std::chrono::milliseconds stale{};  // how long beyond the lifetime; zero: not at all
  std::chrono::milliseconds throttle{30'000};
  Age jitter = {};
  std::chrono::milliseconds soft_limit{};  // zero: none
  std::chrono::milliseconds hard_limit{};  // zero: none
  std::optional<Timeout> negative = {};    // how long to remember that there is no value
  std::chrono::milliseconds lease{};       // zero: none
  // How long to wait for others, if the call says so.
  std::optional<std::chrono::milliseconds> wait = {};

  // Whether an entry needs the times of its value.
  bool wants_times() const noexcept {
    return refresh.after.is_given() || stale.count() > 0 || refresh.early > 0;
  }
};

inline bool says_anything(const LoadPolicy& policy) noexcept { return policy != LoadPolicy(); }

// Whether a call says anything that a plain get_or_set() does not know.
inline bool says_anything(const LoadOptions& call) noexcept {
  return call.refresh_after.is_said() || call.stale_if_error.is_said() || call.throttle.is_said() ||
         call.early.has_value() || call.jitter.is_said() || call.soft_limit.is_said() ||
         call.hard_limit.is_said() || !call.negative_timeout.is_default() || call.lease.is_said() ||
         call.wait.is_said();
}

// Whether a call says no more than a valid refresh_after, which cannot contradict anything.
inline bool just_refreshes(const LoadOptions& call, bool never_ends) noexcept {
  const Age& after = call.refresh_after;
  const bool is_valid = after.is_share() ? after.share() > 0 && after.share() < 1 && !never_ends
                                         : after.value().count() > 0;
  return is_valid && !call.stale_if_error.is_said() && !call.throttle.is_said() &&
         !call.early.has_value() && !call.jitter.is_said() && !call.soft_limit.is_said() &&
         !call.hard_limit.is_said() && !call.lease.is_said() && !call.wait.is_said();
}

// Whether options may contradict those of the alias.
inline bool may_contradict(const LoadOptions& call) noexcept {
  return call.throttle.is_given() || call.soft_limit.is_given() || call.hard_limit.is_given();
}

// Which member cannot be, and why: {"soft_limit", "must be shorter than hard_limit"}.
struct LoadProblem {
  std::string_view member;
  std::string_view why;
};
std::optional<LoadProblem> problem_of(const LoadPolicy& policy) noexcept;

// Of two that exclude each other, the one that the call names wins.
inline RefreshRule refresh_rule_of(const LoadPolicy& alias, const LoadOptions& call) noexcept {
  RefreshRule rule;
  const bool names_early = call.early && *call.early > 0;
  if (!names_early) {
    rule.after = call.refresh_after.is_said() ? call.refresh_after : alias.refresh_after;
  }
  if (!call.refresh_after.is_given()) rule.early = call.early.value_or(alias.early.value_or(0));
  return rule;
}

// `is_background`: limits can hold. `never_ends`: the value does not expire. Throws ValueError for
// options that contradict each other; `what()` begins the message.
void check_options(const LoadOptions& call, bool is_background, bool never_ends,
                   FunctionRef<std::string()> what);
// The same, and what follows from them together with those of the alias.
LoadRules rules_of(const LoadPolicy& alias, const LoadOptions& call, bool is_background,
                   bool never_ends, FunctionRef<std::string()> what);

// How long a value lives, where its lifetime is `fresh`.
struct LoadLife {
  EntryHead head;  // with times, if the rules want them
  Ttl ttl;         // of the stored entry
};
LoadLife life_of(const LoadRules& rules, Ttl fresh, std::chrono::nanoseconds computed_in,
                 const Clock& clock);

// How long the store keeps it, at most.
Ttl longest_life(const LoadRules& rules, Ttl fresh) noexcept;

// `now`: milliseconds since 1970.
bool is_due(const RefreshRule& rule, const EntryHead& head, std::int64_t now);

}  // namespace polycache
