// Rate limits: a script, which has the arithmetic of rates::use() (rate.h), on a string for each
// subject.

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "compose.h"
#include "polycache/author/clock.h"
#include "polycache/author/counter.h"
#include "polycache/error.h"
#include "server_error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Type = Element::Type;
using Used = LimitExtension::Used;
using rates::Rate;
using std::chrono::microseconds;

// A limit times a period is beyond 64 bits.
__extension__ using Wide = __int128;

std::string_view letter_of(const Rate& rate) noexcept {
  switch (rate.algorithm) {
    case RateAlgorithm::fixed_window:
      return "f";
    case RateAlgorithm::sliding_window:
      return "s";
    case RateAlgorithm::token_bucket:
      break;
  }
  return "b";
}

rates::Moment now_of(const Clock& clock) {
  return clock.system_now().time_since_epoch() / microseconds(1);
}

// In milliseconds. It counts from the beginning of the current one.
std::int64_t life_of(const Rate& rate) noexcept { return rates::life(rate).count() + 1; }

// The answer of the script: "1 1796000000000000 b 1796000000500000 3".
std::optional<Used> parse(std::string_view text) {
  const std::size_t end = text.find(' ', 2);
  if (end == std::string_view::npos || text[1] != ' ') return std::nullopt;
  const auto now = parse_counter(text.substr(2, end - 2));
  if (!now) return std::nullopt;
  return Used{.allowed = text[0] == '1', .now = *now, .before = std::string(text.substr(end + 1))};
}

}  // namespace

LimitExtension::Used Session::use(const Use& use) {
  const Rate& rate = use.rate;
  const std::int64_t period = microseconds(rate.period).count();
  const Wide cost = Wide{period} * use.cost;
  const std::array<std::string, 7> numbers{
      std::to_string(rate.limit),
      std::to_string(period),
      std::to_string(use.cost),
      std::to_string(life_of(rate)),
      std::to_string(static_cast<std::int64_t>(cost / rate.limit)),
      std::to_string(static_cast<std::int64_t>(cost % rate.limit)),
      std::to_string(now_of(shared_->clock))};
  const std::array<std::string_view, 8> arguments{letter_of(rate), numbers[0], numbers[1],
                                                  numbers[2],      numbers[3], numbers[4],
                                                  numbers[5],      numbers[6]};
  const Deadline limit = deadline();
  std::optional<Used> used;
  const auto answer = run_script(Purpose::write, limit, use_limit_script, use.key, arguments,
                                 {.types = one_of(Type::string)},
                                 [&](std::string_view text) { used = parse(text); });
  if (!answer) return use_by_watch(use, limit);
  if (used) return *std::move(used);
  throw BackendError(BackendError::Kind::protocol, owner_of(use.key).name(),
                     "its reply about a limit is not one of our script");
}

// By the clock of this process: asking for that of the server would take one more round trip.
LimitExtension::Used Session::use_by_watch(const Use& use, Deadline deadline) {
  Used used;
  watch(Purpose::write, deadline, use.key, [&](const Held& held) {
    used.now = now_of(shared_->clock);
    used.before = held.value.value_or("");
    const rates::Step step = rates::use(use.rate, used.before, used.now, use.cost);
    used.allowed = step.verdict.allowed;
    if (!used.allowed || use.cost == 0) return false;
    commands_.begin(5);
    commands_.word("SET");
    commands_.word(use.key);
    commands_.word(step.state);
    commands_.word("PX");
    commands_.number(life_of(use.rate));
    return true;
  });
  return used;
}

bool Session::forget(std::string_view key) { return erase(key); }

}  // namespace polycache::redis
