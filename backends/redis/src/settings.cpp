#include "settings.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "polycache/net/tls.h"

namespace polycache::redis {
namespace {

constexpr std::int64_t max_database = 1'000'000;
constexpr std::int64_t most_connections = 10'000;
constexpr std::chrono::hours longest_limit(24);
constexpr std::chrono::hours longest_idleness(365 * 24);

// The options' values for what a location lacks. Empty counts as not given, so that a configuration
// may write "${REDIS_PASSWORD:-}".
struct Defaults {
  std::string user;
  std::string password;
  std::optional<int> database = {};

  explicit Defaults(const OptionReader& options)
      : user(options.string("user", "")), password(options.string("password", "")) {
    const auto number = options.integer("database", 0, 0, max_database);
    if (options.has("database")) database = static_cast<int>(number);
  }
};

// Reports an error if both location and option give a value: the precedence would be unclear.
void complete(Endpoint& endpoint, const Defaults& defaults, const OptionReader& options) {
  constexpr std::string_view twice = "the location says it already; say it once";
  if (!defaults.user.empty()) {
    if (endpoint.user) options.reject("user", twice);
    endpoint.user = defaults.user;
  }
  if (!defaults.password.empty()) {
    if (endpoint.password) options.reject("password", twice);
    endpoint.password = defaults.password;
  }
  if (defaults.database) {
    if (endpoint.database) options.reject("database", twice);
    endpoint.database = defaults.database;
  }
  if (endpoint.user && !endpoint.password) {
    options.reject_location("a user without a password; give the option password");
  }
}

void read_tls(std::vector<Endpoint>& endpoints, const OptionReader& options,
              const std::function<void(const Warning&)>& report) {
  const bool any =
      std::any_of(endpoints.begin(), endpoints.end(), [](auto& e) { return e.wants_tls; });
  const bool all_are_known = endpoints.size() == options.location().size();
  const net::TlsUse use = any             ? net::TlsUse::yes
                          : all_are_known ? net::TlsUse::no
                                          : net::TlsUse::unknown;
  const auto certificates = net::read_tls_options(options, use, "rediss://", report);
  if (!certificates) return;
  for (Endpoint& endpoint : endpoints) {
    if (!endpoint.wants_tls) continue;
    endpoint.tls = std::make_shared<net::TlsClient>(certificates, endpoint.host);
  }
}

// Names the location, the problem and the accepted forms; nothing of its text, since in a malformed
// location the bounds of a password are unknown.
std::string refusal(std::size_t index, std::size_t count, std::string_view problem) {
  std::string text = "cannot be understood";
  if (count > 1)
    text = "location " + std::to_string(index + 1) + " of " + std::to_string(count) +
           " cannot be understood";
  return text.append(", and is not shown since it may hold a password: ")
      .append(problem)
      .append(
          "; write \"redis://user:password@host:port/database\", rediss:// for TLS, "
          "\"unix:///path\", \"/path\", \"host:port\", \"[address]:port\" or "
          "\"host:port,password=...,ssl=true\"");
}

// Replicas use the same database as the first server, and must be different servers.
void check_replicas(const std::vector<Endpoint>& endpoints, const OptionReader& options) {
  for (std::size_t i = 1; i < endpoints.size(); ++i) {
    if (endpoints[i].database.value_or(0) != endpoints[0].database.value_or(0)) {
      options.reject_location(
          "the locations name different databases, but the replicas' entries are those of the "
          "first; give all the same one");
      return;
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (endpoints[i].name() != endpoints[k].name()) continue;
      options.reject_location(endpoints[i].name() + " is listed twice; remove one");
      return;
    }
  }
}

std::vector<Endpoint> read_endpoints(const OptionReader& options,
                                     const std::function<void(const Warning&)>& report) {
  std::vector<Endpoint> endpoints;
  const std::vector<std::string>& given = options.location();
  for (std::size_t i = 0; i < given.size(); ++i) {
    try {
      endpoints.push_back(parse_endpoint(given[i]));
    } catch (const std::invalid_argument& problem) {
      options.reject_location(refusal(i, given.size(), problem.what()));
    }
  }
  if (given.empty()) {
    options.reject_location("expected a server, such as redis://127.0.0.1:6379/0");
  }
  const Defaults defaults(options);
  for (Endpoint& endpoint : endpoints) complete(endpoint, defaults, options);
  check_replicas(endpoints, options);
  read_tls(endpoints, options, report);
  return endpoints;
}

std::chrono::milliseconds read_duration(const OptionReader& options, std::string_view name,
                                        std::chrono::milliseconds fallback,
                                        std::chrono::hours longest) {
  const auto duration = options.duration(name, fallback);
  if (duration <= longest) return duration;
  options.reject(name, "at most " + std::to_string(longest.count()) + " hours");
  return fallback;
}

// If connecting could take longer than an operation, no connection might ever be made.
Limits read_limits(const OptionReader& options) {
  Limits limits;
  limits.connect = read_duration(options, "connect_timeout", limits.connect, longest_limit);
  limits.operation = read_duration(options, "timeout", limits.operation, longest_limit);
  if (options.has("connect_timeout") && limits.connect > limits.operation) {
    options.reject("connect_timeout", "it is longer than timeout, which it is a part of");
  }
  limits.max_value_bytes = static_cast<std::size_t>(
      options.bytes("max_value_bytes", static_cast<std::int64_t>(limits.max_value_bytes), 1));
  return limits;
}

PoolLimits read_pool_limits(const OptionReader& options) {
  PoolLimits limits;
  limits.max_connections = static_cast<std::size_t>(options.integer(
      "max_connections", static_cast<std::int64_t>(limits.max_connections), 1, most_connections));
  limits.idle_timeout =
      read_duration(options, "idle_timeout", limits.idle_timeout, longest_idleness);
  return limits;
}

}  // namespace

Settings::Settings(const OptionReader& options, const std::function<void(const Warning&)>& report)
    : limits(read_limits(options)),
      pool(read_pool_limits(options)),
      endpoints(read_endpoints(options, report)) {}

}  // namespace polycache::redis
