#include "settings.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace polycache::memcached {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t default_max_value_bytes = 64LL << 20;
constexpr std::int64_t largest_value_bytes = 1LL << 30;  // memcached's own limit for -I
constexpr std::int64_t most_connections = 10'000;
constexpr std::chrono::hours longest_idleness(365 * 24);
constexpr auto longest_wait = 24h;  // milliseconds in 31 bits, the library's type

// Names the location and the problem; nothing of its text. It should contain no password, but may
// be a location for another store.
std::string refusal(std::size_t index, std::size_t count, std::string_view problem) {
  std::string text;
  if (count > 1) {
    text = "location " + std::to_string(index + 1) + " of " + std::to_string(count) + ": ";
  }
  return text.append(problem).append(
      " (what stands there is not shown, since it may hold a password; user and password are "
      "options)");
}

void check_is_new(const Endpoint& endpoint, const std::vector<Endpoint>& others,
                  const OptionReader& options) {
  const bool twice = std::any_of(others.begin(), others.end(), [&](const Endpoint& other) {
    return other.name() == endpoint.name();
  });
  if (twice) {
    options.reject_location(endpoint.name() +
                            " is listed twice; remove one, or give it more keys by ?weight=2");
  }
}

std::vector<Endpoint> read_endpoints(const OptionReader& options) {
  std::vector<Endpoint> endpoints;
  const std::vector<std::string>& given = options.location();
  for (std::size_t i = 0; i < given.size(); ++i) {
    try {
      Endpoint endpoint = parse_endpoint(given[i]);
      check_is_new(endpoint, endpoints, options);
      endpoints.push_back(std::move(endpoint));
    } catch (const std::invalid_argument& problem) {
      options.reject_location(refusal(i, given.size(), problem.what()));
    }
  }
  if (endpoints.empty()) endpoints.push_back({.host = "127.0.0.1", .port = default_port});
  return endpoints;
}

// If a record does not fit into the free part of memcached's 16 KiB buffer, its rest stays in
// OpenSSL's buffer, where memcached does not see it until more bytes arrive (1.6.18).
constexpr std::size_t tls_record_bytes = std::size_t{8} << 10U;

// Text protocol only: libmemcached does not support TLS.
void read_tls(const OptionReader& options, Settings& settings,
              const std::function<void(const Warning&)>& report) {
  bool any = false;
  for (const Endpoint& endpoint : settings.endpoints) any = any || endpoint.wants_tls;
  const std::size_t locations = options.location().size();
  const bool all_are_known = locations == 0 || settings.endpoints.size() == locations;
  const net::TlsUse use = any             ? net::TlsUse::yes
                          : all_are_known ? net::TlsUse::no
                                          : net::TlsUse::unknown;
  const auto certificates = net::read_tls_options(options, use, "tls://", report);
  if (any && settings.protocol == Protocol::binary) {
    options.reject("protocol",
                   "TLS needs the text protocol, and so goes without user and password; leave "
                   "\"protocol\" out, or write the location without tls://");
  }
  if (!certificates) return;
  for (Endpoint& endpoint : settings.endpoints) {
    if (!endpoint.wants_tls) continue;
    endpoint.tls = std::make_shared<net::TlsClient>(certificates, endpoint.host, tls_record_bytes);
  }
}

PoolLimits read_pool_limits(const OptionReader& options) {
  PoolLimits limits;
  limits.max_connections = static_cast<std::size_t>(options.integer(
      "max_connections", static_cast<std::int64_t>(limits.max_connections), 1, most_connections));
  limits.idle_timeout = options.duration("idle_timeout", limits.idle_timeout);
  if (limits.idle_timeout > longest_idleness) options.reject("idle_timeout", "at most 365 days");
  return limits;
}

void check_times(const OptionReader& options, const Settings& settings) {
  if (settings.timeout > longest_wait) options.reject("timeout", "at most 24h");
  if (settings.connect_timeout > longest_wait) {
    options.reject("connect_timeout", "at most 24h");
  } else if (options.has("connect_timeout") && settings.connect_timeout > settings.timeout) {
    options.reject("connect_timeout",
                   "longer than \"timeout\", which is for the whole operation, connecting "
                   "included; make it shorter, or \"timeout\" longer");
  }
}

void check_credentials(const OptionReader& options, const Settings& settings) {
  const bool has_user = options.has("user");
  if (!has_user && !options.has("password")) return;
  const std::string_view name = has_user ? "user" : "password";
  if (has_user != options.has("password")) {
    options.reject(name, "\"user\" and \"password\" go together; give both or none");
    return;
  }
  if (settings.protocol == Protocol::ascii) {
    options.reject(name, R"(SASL needs the binary protocol; set "protocol" to "binary")");
  }
  for (const Endpoint& endpoint : settings.endpoints) {
    if (!endpoint.is_unix_socket()) continue;
    options.reject(name,
                   "SASL works over TCP only; name the server by host and port, or leave "
                   "user and password out");
    return;
  }
}

}  // namespace

Settings::Settings(const OptionReader& options, const std::function<void(const Warning&)>& report)
    : endpoints(read_endpoints(options)),
      protocol(options.choice("protocol", {"ascii", "binary"}, "ascii") == "binary"
                   ? Protocol::binary
                   : Protocol::ascii),
      user(options.string("user", "")),
      password(options.string("password", "")),
      connect_timeout(options.duration("connect_timeout", 500ms)),
      timeout(options.duration("timeout", 1s)),
      max_value_bytes(
          static_cast<std::size_t>(options.bytes("max_value_bytes", default_max_value_bytes, 1))),
      pool(read_pool_limits(options)) {
  check_credentials(options, *this);
  read_tls(options, *this, report);
  check_times(options, *this);
  if (max_value_bytes > static_cast<std::size_t>(largest_value_bytes)) {
    options.reject("max_value_bytes", "at most 1GiB, which is memcached's own limit");
  }
}

}  // namespace polycache::memcached
