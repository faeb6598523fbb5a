#include "front/load_rules.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "polycache/error.h"

namespace polycache {
namespace {

using std::chrono::milliseconds;

// Uniform in (0, 1].
double random_share() {
  static std::atomic<std::uint64_t> state = [] {
    std::random_device random;
    return std::uint64_t{random()} << 32U | random();
  }();
  // SplitMix64 (Steele, Lea, Flood 2014).
  std::uint64_t bits = state.fetch_add(0x9e3779b97f4a7c15U, std::memory_order_relaxed);
  bits = (bits ^ (bits >> 30U)) * 0xbf58476d1ce4e5b9U;
  bits = (bits ^ (bits >> 27U)) * 0x94d049bb133111ebU;
  bits ^= bits >> 31U;
  return static_cast<double>((bits >> 11U) + 1) / 9007199254740992.0;  // 2^53
}

bool is_positive(const Span& span) noexcept { return !span.is_given() || span.value().count() > 0; }

std::optional<LoadProblem> problem_of_age(std::string_view member, const Age& age) noexcept {
  if (age.is_share() && !(age.share() > 0 && age.share() < 1)) {
    return LoadProblem{member, "must be a share between 0 and 1, such as 0.8, or a duration"};
  }
  if (!age.is_share() && age.is_given() && age.value().count() <= 0) {
    return LoadProblem{
        member, "must be longer than zero; polycache::off, in a file false, switches it off"};
  }
  return std::nullopt;
}

// Of a LoadPolicy, or of LoadOptions: their members have the same names.
template <class Options>
std::optional<LoadProblem> problem_in(const Options& options) noexcept {
  if (const auto problem = problem_of_age("refresh_after", options.refresh_after)) return problem;
  if (const auto problem = problem_of_age("jitter", options.jitter)) return problem;
  constexpr std::string_view positive =
      "must be longer than zero; polycache::off, in a file false, switches it off";
  if (!is_positive(options.stale_if_error)) return LoadProblem{"stale_if_error", positive};
  if (!is_positive(options.throttle)) return LoadProblem{"throttle", positive};
  if (!is_positive(options.soft_limit)) return LoadProblem{"soft_limit", positive};
  if (!is_positive(options.hard_limit)) return LoadProblem{"hard_limit", positive};
  if (!is_positive(options.lease)) return LoadProblem{"lease", positive};
  if (options.early && !(*options.early >= 0 && *options.early <= 1e6)) {
    return LoadProblem{"early", "must be a number from 0 to 1000000; 1 is optimal"};
  }
  if (options.early && *options.early > 0 && options.refresh_after.is_given()) {
    return LoadProblem{"early", "and refresh_after exclude each other; give one of them"};
  }
  if (options.soft_limit.is_given() && options.hard_limit.is_given() &&
      options.soft_limit.value() >= options.hard_limit.value()) {
    return LoadProblem{"soft_limit", "must be shorter than hard_limit"};
  }
  return std::nullopt;
}

template <class Option>
const Option& said(const Option& call, const Option& alias) noexcept {
  return call.is_said() ? call : alias;
}

[[noreturn]] void refuse(FunctionRef<std::string()> what, std::string_view member,
                         std::string_view why) {
  throw ValueError(what().append(": ").append(member).append(" ").append(why));
}

}  // namespace

std::optional<LoadProblem> problem_of(const LoadPolicy& policy) noexcept {
  return problem_in(policy);
}

void check_options(const LoadOptions& call, bool is_background, bool never_ends,
                   FunctionRef<std::string()> what) {
  if (const auto problem = problem_in(call)) refuse(what, problem->member, problem->why);
  const bool is_share = call.refresh_after.is_share() || call.jitter.is_share();
  if (is_share && never_ends) {
    refuse(what, call.refresh_after.is_share() ? "refresh_after" : "jitter",
           "is a share of a lifetime that never ends; give a duration, or another timeout");
  }
  if ((call.soft_limit.is_given() || call.hard_limit.is_given()) && !is_background) {
    refuse(what, call.soft_limit.is_given() ? "soft_limit" : "hard_limit",
           "needs a function that may run on another thread: in_background(f), where f owns its "
           "captures");
  }
}

LoadRules rules_of(const LoadPolicy& alias, const LoadOptions& call, bool is_background,
                   bool never_ends, FunctionRef<std::string()> what) {
  check_options(call, is_background, never_ends, what);
  LoadRules rules;
  rules.refresh = refresh_rule_of(alias, call);
  rules.stale = said(call.stale_if_error, alias.stale_if_error).value();
  const Span& throttle = said(call.throttle, alias.throttle);
  if (throttle.is_given()) rules.throttle = throttle.value();
  if (throttle.is_off()) rules.throttle = milliseconds(1);
  rules.jitter = said(call.jitter, alias.jitter);
  rules.lease = said(call.lease, alias.lease).value();
  if (call.wait.is_said()) rules.wait = std::max(milliseconds::zero(), call.wait.value());
  if (is_background) {
    rules.soft_limit = said(call.soft_limit, alias.soft_limit).value();
    rules.hard_limit = said(call.hard_limit, alias.hard_limit).value();
  }
  const Timeout& negative =
      call.negative_timeout.is_default() ? alias.negative_timeout : call.negative_timeout;
  if (!negative.is_default()) rules.negative = negative;
  if (call.throttle.is_given() && rules.stale.count() == 0 && !rules.refresh.after.is_given()) {
    refuse(what, "throttle", "needs stale_if_error, whose values it lets stand");
  }
  if (rules.soft_limit.count() > 0 && rules.hard_limit.count() > 0 &&
      rules.soft_limit >= rules.hard_limit) {
    if (call.soft_limit.is_given() || call.hard_limit.is_given()) {
      refuse(what, "soft_limit", "must be shorter than hard_limit");
    }
    rules.soft_limit = {};
  }
  return rules;
}

Ttl longest_life(const LoadRules& rules, Ttl fresh) noexcept {
  if (fresh.is_forever() || rules.stale.count() == 0) return fresh;
  const milliseconds most = milliseconds::max() - rules.stale;
  return fresh.value() >= most ? Ttl::forever() : Ttl(fresh.value() + rules.stale);
}

LoadLife life_of(const LoadRules& rules, Ttl fresh, std::chrono::nanoseconds computed_in,
                 const Clock& clock) {
  if (fresh.is_forever()) return {{}, fresh};
  if (rules.jitter.is_given()) {
    const auto ms = static_cast<double>(fresh.value().count());
    const auto given = static_cast<double>(rules.jitter.value().count());
    const double most =
        rules.jitter.is_share() ? ms * rules.jitter.share() : std::min(given, ms / 2);
    const double left = std::max(1.0, ms - most * random_share());
    fresh = Ttl(milliseconds(static_cast<std::int64_t>(left)));
  }
  LoadLife life{{}, longest_life(rules, fresh)};
  if (!rules.wants_times()) return life;
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(computed_in).count();
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(rules.stale).count();
  life.head.created = entry_time(clock);
  if (__builtin_add_overflow(life.head.created, fresh.value().count(), &life.head.fresh_until)) {
    return {{}, life.ttl};
  }
  life.head.compute_microseconds = static_cast<std::uint32_t>(
      std::min(static_cast<std::uint64_t>(std::max<std::int64_t>(micros, 0)), most));
  life.head.stale_seconds =
      static_cast<std::uint32_t>(std::min(static_cast<std::uint64_t>(seconds), most));
  return life;
}

bool is_due(const RefreshRule& rule, const EntryHead& head, std::int64_t now) {
  if (head.created == 0 || head.fresh_until <= head.created) return false;
  const bool refreshes = rule.after.is_given();
  if (!refreshes && rule.early <= 0) return false;
  const auto age = static_cast<double>(now - head.created);
  const auto lifetime = static_cast<double>(head.fresh_until - head.created);
  if (refreshes) {
    return age >= (rule.after.is_share() ? rule.after.share() * lifetime
                                         : static_cast<double>(rule.after.value().count()));
  }
  const double computed_in = head.compute_microseconds / 1000.0;
  return age - computed_in * rule.early * std::log(random_share()) >= lifetime;
}

}  // namespace polycache
