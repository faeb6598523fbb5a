#include "settings.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "polycache/author/text.h"

namespace polycache::memcached {
namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t kDefaultPort = 11211;
constexpr std::uint32_t kMaxWeight = 1000;
constexpr std::size_t kMaxSocketPath = 107;  // sockaddr_un, less its zero
constexpr std::int64_t kMaxValueBytes = 64LL << 20;
constexpr std::int64_t kLargestValueBytes = 1LL << 30;  // memcached's own limit for -I
constexpr std::int64_t kMostConnections = 10'000;
constexpr std::chrono::hours kLongestIdleness(365 * 24);
constexpr auto kLongestWait = 24h;  // milliseconds in 31 bits, the library's type

template <class Number>
std::optional<Number> parse_number(std::string_view text, Number min, Number max) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (number < min || number > max) return std::nullopt;
  return number;
}

// Removes "?weight=2" from the end. False if the question mark is followed by anything else.
bool take_weight(std::string_view& location, std::uint32_t& weight) {
  constexpr std::string_view name = "weight=";
  const std::size_t mark = location.rfind('?');
  if (mark == std::string_view::npos) return true;
  const std::string_view rest = location.substr(mark + 1);
  location = location.substr(0, mark);
  if (!rest.starts_with(name)) return false;
  const auto number = parse_number<std::uint32_t>(rest.substr(name.size()), 1, kMaxWeight);
  if (!number) return false;
  weight = *number;
  return true;
}

std::variant<ServerAddress, std::string> parse_socket(std::string_view path, std::uint32_t weight) {
  // "unix://user:password@/path" is redis's syntax.
  if (!is_socket_path(path)) {
    return R"(a unix socket is "unix:" and a path that begins with one "/" and has no blanks, )"
           "quotes or any of ?#;,&=";
  }
  if (path.size() > kMaxSocketPath) return "the path of a unix socket has at most 107 bytes";
  return ServerAddress{.host = std::string(path), .port = 0, .weight = weight};
}

// Splits "host:port", "[::1]:port" and either without a port. Empty: neither form.
std::optional<ServerAddress> split_host(std::string_view text) {
  std::string_view host = text;
  std::string_view rest;
  const bool in_brackets = text.starts_with('[');
  if (in_brackets) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    rest = text.substr(colon);
  }
  if (!is_host(host) || in_brackets != (host.find(':') != std::string_view::npos)) {
    return std::nullopt;
  }
  ServerAddress address{.host = std::string(host), .port = kDefaultPort};
  if (rest.empty()) return address;
  const auto port = rest.starts_with(':')
                        ? parse_number<std::uint16_t>(rest.substr(1), 1,
                                                      std::numeric_limits<std::uint16_t>::max())
                        : std::nullopt;
  if (!port) return std::nullopt;
  address.port = *port;
  return address;
}

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

std::vector<ServerAddress> read_servers(const OptionReader& options) {
  std::vector<ServerAddress> servers;
  const std::vector<std::string>& given = options.location();
  for (std::size_t i = 0; i < given.size(); ++i) {
    auto parsed = parse_location(given[i]);
    if (const auto* problem = std::get_if<std::string>(&parsed)) {
      options.reject_location(refusal(i, given.size(), *problem));
      continue;
    }
    auto server = std::get<ServerAddress>(std::move(parsed));
    const bool twice = std::any_of(servers.begin(), servers.end(), [&](const ServerAddress& other) {
      return other.name() == server.name();
    });
    if (twice) {
      options.reject_location(server.name() +
                              " is listed twice; remove one, or give it more keys by ?weight=2");
    }
    servers.push_back(std::move(server));
  }
  if (servers.empty()) servers.push_back({.host = "127.0.0.1", .port = kDefaultPort});
  return servers;
}

// If a record does not fit into the free part of memcached's 16 KiB buffer, its rest stays in
// OpenSSL's buffer, where memcached does not see it until more bytes arrive (1.6.18).
constexpr std::size_t kTlsRecordBytes = std::size_t{8} << 10U;

// Text protocol only: libmemcached does not support TLS.
void read_tls(const OptionReader& options, Settings& settings,
              const std::function<void(const Warning&)>& report) {
  bool any = false;
  for (const ServerAddress& server : settings.servers) any = any || server.wants_tls;
  const std::size_t locations = options.location().size();
  const bool all_are_known = locations == 0 || settings.servers.size() == locations;
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
  for (ServerAddress& server : settings.servers) {
    if (server.wants_tls) {
      server.tls = std::make_shared<net::TlsClient>(certificates, server.host, kTlsRecordBytes);
    }
  }
}

PoolLimits read_pool_limits(const OptionReader& options) {
  PoolLimits limits;
  limits.max_connections = static_cast<std::size_t>(options.integer(
      "max_connections", static_cast<std::int64_t>(limits.max_connections), 1, kMostConnections));
  limits.idle_timeout = options.duration("idle_timeout", limits.idle_timeout);
  if (limits.idle_timeout > kLongestIdleness) options.reject("idle_timeout", "at most 365 days");
  return limits;
}

void check_times(const OptionReader& options, const Settings& settings) {
  if (settings.timeout > kLongestWait) options.reject("timeout", "at most 24h");
  if (settings.connect_timeout > kLongestWait) {
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
  for (const ServerAddress& server : settings.servers) {
    if (!server.is_unix_socket()) continue;
    options.reject(name,
                   "SASL works over TCP only; name the server by host and port, or leave "
                   "user and password out");
    return;
  }
}

}  // namespace

std::string ServerAddress::name() const {
  if (is_unix_socket()) return host;
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::variant<ServerAddress, std::string> parse_location(std::string_view location) {
  constexpr std::string_view unix_scheme = "unix:";
  constexpr std::string_view tls_scheme = "tls://";
  std::string_view rest = location;
  std::uint32_t weight = 1;
  if (!take_weight(rest, weight)) {
    return "expected nothing after the server but \"?weight=\" and a number from 1 to 1000";
  }
  const bool wants_tls = rest.starts_with(tls_scheme);
  if (wants_tls) {
    rest.remove_prefix(tls_scheme.size());
    if (rest.starts_with('/') || rest.starts_with(unix_scheme)) {
      return "TLS is for servers that are reached by TCP; write tls://host:port";
    }
  }
  if (rest.starts_with(unix_scheme)) return parse_socket(rest.substr(unix_scheme.size()), weight);
  if (rest.starts_with('/')) return parse_socket(rest, weight);
  auto address = split_host(rest);
  if (!address) {
    return "expected \"host:port\", \"host\", \"[address]:port\", any of these behind "
           "\"tls://\", or \"unix:/path\" (several servers are a list)";
  }
  address->weight = weight;
  address->wants_tls = wants_tls;
  return *std::move(address);
}

Settings::Settings(const OptionReader& options, const std::function<void(const Warning&)>& report)
    : servers(read_servers(options)),
      protocol(options.choice("protocol", {"ascii", "binary"}, "ascii") == "binary"
                   ? Protocol::binary
                   : Protocol::ascii),
      user(options.string("user", "")),
      password(options.string("password", "")),
      connect_timeout(options.duration("connect_timeout", 500ms)),
      timeout(options.duration("timeout", 1s)),
      max_value_bytes(
          static_cast<std::size_t>(options.bytes("max_value_bytes", kMaxValueBytes, 1))),
      pool(read_pool_limits(options)) {
  check_credentials(options, *this);
  read_tls(options, *this, report);
  check_times(options, *this);
  if (max_value_bytes > static_cast<std::size_t>(kLargestValueBytes)) {
    options.reject("max_value_bytes", "at most 1GiB, which is memcached's own limit");
  }
}

}  // namespace polycache::memcached
