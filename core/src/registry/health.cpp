#include "registry/health.h"

#include <cxxabi.h>

#include <algorithm>
#include <chrono>
#include <exception>

#include "front/backend_call.h"
#include "polycache/author/extension.h"

namespace polycache {
namespace {

using std::chrono::ceil;
using std::chrono::microseconds;

// The key read if a store has no health extension. It does no harm if it exists.
constexpr std::string_view probe_key = "polycache-health";

void take(CacheHealth& health, const HealthExtension::Server& server) {
  health.servers.push_back({.name = std::string(server.name),
                            .reachable = server.reachable,
                            .round_trip = ceil<microseconds>(server.round_trip),
                            .breaker = server.breaker,
                            .error = std::string(server.error)});
}

void sum_up(CacheHealth& health) {
  health.reachable = true;
  for (const CacheHealth::Server& server : health.servers) {
    health.breaker = std::max(health.breaker, server.breaker);
    if (server.reachable) {
      health.round_trip = std::max(health.round_trip, server.round_trip);
    } else {
      health.reachable = false;
      health.last_error = server.error;
    }
  }
}

void ask(CacheState& state, CacheHealth& health) {
  const std::unique_ptr<Backend> session = state.shared().connect();
  if (auto* const extension =
          static_cast<HealthExtension*>(session->extension(HealthExtension::id))) {
    extension->check([&](const HealthExtension::Server& server) { take(health, server); });
    sum_up(health);
    return;
  }
  FinalKey key;
  state.keys().compose(key, probe_key, std::nullopt);
  const auto begin = std::chrono::steady_clock::now();
  session->get(key.view(), [](std::string_view) {});
  health.round_trip = ceil<microseconds>(std::chrono::steady_clock::now() - begin);
  health.reachable = true;
}

}  // namespace

CacheHealth check_health(CacheState& state) {
  CacheHealth health;
  health.alias = state.alias();
  health.breaker = state.store_record().breaker_state(Access::write);
  health.last_error = state.store_record().last_error();
  BackendCall call;
  try {
    ask(state, health);
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: must not be caught
    throw;
  } catch (const std::exception& error) {
    health.last_error = error.what();
  } catch (...) {  // a foreign store may throw anything
    health.last_error = state.shared().plugin() + " threw something that is not a std::exception";
  }
  state.shared().deliver(call);
  return health;
}

}  // namespace polycache
