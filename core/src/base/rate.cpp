#include "polycache/author/rate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <system_error>

namespace polycache::rates {
namespace {

// A limit times a period is beyond 64 bits.
__extension__ using Wide = __int128;

constexpr std::int64_t microseconds = 1'000;  // in a millisecond
constexpr std::int64_t too_large = std::int64_t{1} << 53;

// Rounded up: a caller that waits that long is not too early.
std::chrono::milliseconds rounded_up(std::int64_t time) {
  return std::chrono::milliseconds((std::max<std::int64_t>(time, 0) + microseconds - 1) /
                                   microseconds);
}

// "b 5 3": the letter of an algorithm, and numbers that are not negative.
template <std::size_t count>
std::optional<std::array<std::int64_t, count>> parse(std::string_view state, char letter) {
  if (state.empty() || state.front() != letter) return std::nullopt;
  std::array<std::int64_t, count> numbers{};
  const char* at = state.data() + 1;
  const char* const end = state.data() + state.size();
  for (std::int64_t& number : numbers) {
    if (end - at < 2 || *at != ' ' || at[1] == '-') return std::nullopt;
    const auto [rest, error] = std::from_chars(at + 1, end, number);
    if (error != std::errc() || number >= too_large) return std::nullopt;
    at = rest;
  }
  if (at != end) return std::nullopt;
  return numbers;
}

Moment period_of(const Rate& rate) noexcept { return rate.period.count() * microseconds; }

template <class... Numbers>
std::string format(char letter, Numbers... numbers) {
  std::string state(1, letter);
  ((state += ' ' + std::to_string(numbers)), ...);
  return state;
}

// The moment at which the bucket will be full again: ITU-T I.371, "theoretical arrival time". Times
// are multiplied by the limit, so that a token's share of a period is a whole number.
Step use_bucket(const Rate& rate, std::string_view state, Moment now, std::int64_t cost) {
  const Wide token = period_of(rate);
  const Wide capacity = token * rate.limit;
  Wide used = 0;  // tokens that are missing now, by their time
  if (const auto said = parse<2>(state, 'b')) {
    const auto [full_at, rest] = *said;
    // The rest may be that of a larger limit.
    const std::int64_t below = std::min(rest, rate.limit - 1);
    used = std::clamp<Wide>((Wide{full_at} - now) * rate.limit + below, 0, capacity);
  }
  const Wide after = used + token * cost;
  Step step;
  step.verdict.allowed = after <= capacity;
  const Wide counted = step.verdict.allowed ? after : used;
  step.verdict.left = static_cast<std::int64_t>((capacity - counted) / token);
  if (!step.verdict.allowed) {
    const Wide wait = (after - capacity + rate.limit - 1) / rate.limit;
    step.verdict.retry_after = rounded_up(static_cast<std::int64_t>(wait));
    return step;
  }
  const auto full_in = static_cast<std::int64_t>(after / rate.limit);
  const auto rest = static_cast<std::int64_t>(after % rate.limit);
  step.state = format('b', now + full_in, rest);
  return step;
}

Step use_fixed(const Rate& rate, std::string_view state, Moment now, std::int64_t cost) {
  const Moment period = period_of(rate);
  Moment begin = now;
  std::int64_t used = 0;
  if (const auto said = parse<2>(state, 'f')) {
    const auto [began, count] = *said;
    // One that begins in the future stems from a clock that is ahead, or was.
    if (now < began + period && began < now + period) {
      begin = began;
      used = std::min(count, rate.limit);
    }
  }
  Step step;
  step.verdict.allowed = used + cost <= rate.limit;
  if (step.verdict.allowed) used += cost;
  step.verdict.left = rate.limit - used;
  const std::int64_t rest = begin + period - now;
  if (!step.verdict.allowed) {
    step.verdict.retry_after = rounded_up(rest);
    return step;
  }
  step.state = format('f', begin, used);
  return step;
}

// The uses of the period before that still count `elapsed` after the beginning of this one,
// rounded up.
std::int64_t share(const Rate& rate, std::int64_t before, std::int64_t elapsed) {
  const Moment period = period_of(rate);
  const auto rest = static_cast<Wide>(before) * (period - elapsed);
  return static_cast<std::int64_t>((rest + period - 1) / period);
}

// How long until `needed` uses fit, with `used` of this period and those before.
std::int64_t wait_for(const Rate& rate, std::int64_t before, std::int64_t used,
                      std::int64_t elapsed, std::int64_t needed) {
  const Moment period = period_of(rate);
  const std::int64_t room = rate.limit - used - needed;  // for those before
  if (room >= 0) {
    // The first moment at which share() is that small.
    const auto rest = static_cast<Wide>(room) * period / std::max<std::int64_t>(before, 1);
    return std::max<std::int64_t>(period - static_cast<std::int64_t>(rest) - elapsed, 0);
  }
  // In the next period, where the uses of this one are those before.
  const std::int64_t later = wait_for(rate, used, 0, 0, needed);
  return period - elapsed + later;
}

Step use_sliding(const Rate& rate, std::string_view state, Moment now, std::int64_t cost) {
  const Moment period = period_of(rate);
  const Moment begin = now - now % period;
  std::int64_t before = 0;
  std::int64_t used = 0;
  if (const auto said = parse<3>(state, 's')) {
    const auto [began, count_before, count] = *said;
    // Periods of a clock that is ahead count as this one.
    if (began == begin || (began > begin && began <= begin + period)) {
      before = std::min(count_before, rate.limit);
      used = std::min(count, rate.limit);
    } else if (began == begin - period) {
      before = std::min(count, rate.limit);
    }
  }
  const std::int64_t elapsed = now - begin;
  Step step;
  step.verdict.allowed = share(rate, before, elapsed) + used + cost <= rate.limit;
  if (step.verdict.allowed) used += cost;
  step.verdict.left = std::max<std::int64_t>(rate.limit - share(rate, before, elapsed) - used, 0);
  if (!step.verdict.allowed) {
    step.verdict.retry_after = rounded_up(wait_for(rate, before, used, elapsed, cost));
    return step;
  }
  step.state = format('s', begin, before, used);
  return step;
}

}  // namespace

Step use(const Rate& rate, std::string_view state, Moment now, std::int64_t cost) {
  switch (rate.algorithm) {
    case RateAlgorithm::fixed_window:
      return use_fixed(rate, state, now, cost);
    case RateAlgorithm::sliding_window:
      return use_sliding(rate, state, now, cost);
    case RateAlgorithm::token_bucket:
      break;
  }
  return use_bucket(rate, state, now, cost);
}

}  // namespace polycache::rates
