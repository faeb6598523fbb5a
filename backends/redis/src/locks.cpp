// Locks: scripts on a hash for each lock, and a list for each, from which those who wait for it
// receive a message of its release.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "compose.h"
#include "polycache/error.h"
#include "server_error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;
using Type = Element::Type;
using std::chrono::milliseconds;

// Longer leases are cut, so that the scripts' numbers stay exact: a hundred years.
constexpr milliseconds longest_lease = std::chrono::hours(24 * 36525);

// How long what the server said of its eviction policy is believed.
constexpr std::chrono::seconds believed{60};

std::string digits_of(milliseconds lease) {
  return std::to_string(std::min(lease, longest_lease).count());
}

std::string list_of(std::string_view key) { return std::string(key) + ":w"; }

bool anything(std::string_view /*error*/) noexcept { return true; }

}  // namespace

std::int64_t Session::run_lock_script(const Script& script, std::string_view key,
                                      std::span<const std::string_view> arguments,
                                      std::size_t more_keys) {
  const auto answer = run_script(Purpose::write, deadline(), script, key, arguments,
                                 {.types = one_of(Type::integer)}, ignore, more_keys);
  if (answer) return answer->integer;
  throw_no_scripts(key, "locks need");
}

void Session::throw_no_scripts(std::string_view key, std::string_view what) {
  throw BackendError(Kind::denied, owner_of(key).name(),
                     std::string(what) +
                         " scripts, which the server denies; allow evalsha and eval in its access "
                         "rules");
}

LockExtension::Taken Session::take(const Claim& claim, milliseconds lease) {
  const std::string permits = std::to_string(claim.permits);
  const std::string time = digits_of(lease);
  const std::array<std::string_view, 3> arguments{claim.token, permits, time};
  const std::int64_t number = run_lock_script(take_lock_script, claim.key, arguments);
  if (number > 0) return {.taken = true, .fence = static_cast<std::uint64_t>(number)};
  return {.wait = milliseconds(std::max<std::int64_t>(-number, 1))};
}

bool Session::renew(const Claim& claim, milliseconds lease) {
  const std::string time = digits_of(lease);
  const std::array<std::string_view, 2> arguments{claim.token, time};
  return run_lock_script(renew_lock_script, claim.key, arguments) != 0;
}

bool Session::release(const Claim& claim) {
  const std::string list = list_of(claim.key);
  const std::string permits = std::to_string(claim.permits);
  const std::array<std::string_view, 3> arguments{list, claim.token, permits};
  return run_lock_script(release_lock_script, claim.key, arguments, 1) != 0;
}

// Before redis 6, the limit is in whole seconds: such a server is asked again and again, too.
bool Session::wait(std::string_view key, milliseconds limit) {
  Server& server = owner_of(key);
  if (!server.has(Feature::blpop)) return false;
  const std::string list = list_of(key);
  char seconds[32];
  const auto count = static_cast<double>(std::min(limit, milliseconds(600'000)).count());
  std::snprintf(seconds, sizeof seconds, "%.3f", count / 1000);
  commands_.clear();
  commands_.begin(3);
  commands_.word("BLPOP");
  commands_.word(list);
  commands_.word(seconds);
  Answer answer;
  try {
    answer =
        ask({&server, &waiting_hint_}, key, Purpose::wait, deadline() + limit, Repeat::if_broken,
            {.types = one_of(Type::array, Type::nil), .tolerated = anything}, ignore);
  } catch (const BackendError& error) {
    if (error.kind() == Kind::overloaded) return false;  // many threads wait already
    throw;
  }
  if (answer.type != Type::error) return true;
  server.use_fallback_for(Feature::blpop, answer.error);
  return false;
}

LockExtension::Keeping Session::ask_for_keeping(Place place) {
  commands_.clear();
  commands_.begin(3);
  commands_.word("CONFIG");
  commands_.word("GET");
  commands_.word("maxmemory-policy");
  using Keeping = LockExtension::Keeping;
  Keeping keeping = Keeping::not_known;
  std::string error;
  run(place, {}, Purpose::read_latest, deadline(), Repeat::if_broken, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    connection.receive([&](const Element& element) {
      if (element.type == Type::error) error = element.text;
      if (element.depth != 1 || element.index != 1) return;
      keeping = element.text.starts_with("allkeys-") ? Keeping::may_evict : Keeping::kept;
    });
  });
  if (keeping == Keeping::not_known && !shared_->warned_of_keeping.exchange(true)) {
    warn(Warning::Kind::other, {},
         "The redis server " + place.server->name() +
             " does not say whether it evicts locks and "
             "collections" +
             (error.empty() ? "" : ": " + shown_error(error)) +
             ". Allow the command config|get in its access rules, or make sure that its "
             "maxmemory-policy is none of allkeys-*.");
  }
  return keeping;
}

// The servers are asked once a minute, not for every lock.
LockExtension::Keeping Session::keeping() {
  using Keeping = LockExtension::Keeping;
  const std::int64_t now = coarse_now().time_since_epoch() / milliseconds(1);
  if (now < shared_->keeping_until.load(std::memory_order_acquire)) {
    return shared_->keeping.load(std::memory_order_relaxed);
  }
  Keeping all = Keeping::kept;
  topology_->for_each_primary([&](Place place) {
    const Keeping one = ask_for_keeping(place);
    if (all == Keeping::kept || one == Keeping::may_evict) all = one;
  });
  shared_->keeping.store(all, std::memory_order_relaxed);
  shared_->keeping_until.store(now + milliseconds(believed).count(), std::memory_order_release);
  return all;
}

}  // namespace polycache::redis
