#include "endpoint.h"

#include <charconv>
#include <limits>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "polycache/author/text.h"

namespace polycache::memcached {
namespace {

constexpr std::uint32_t max_weight = 1000;
constexpr std::size_t max_socket_path = 107;  // sockaddr_un, less its zero

[[noreturn]] void wrong(const std::string& what) { throw std::invalid_argument(what); }

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
  const auto number = parse_number<std::uint32_t>(rest.substr(name.size()), 1, max_weight);
  if (!number) return false;
  weight = *number;
  return true;
}

Endpoint parse_socket(std::string_view path, std::uint32_t weight) {
  // "unix://user:password@/path" is redis's syntax.
  if (!is_socket_path(path)) {
    wrong(R"(a unix socket is "unix:" and a path that begins with one "/" and has no blanks, )"
          "quotes or any of ?#;,&=");
  }
  if (path.size() > max_socket_path) wrong("the path of a unix socket has at most 107 bytes");
  return {.host = std::string(path), .port = 0, .weight = weight};
}

// Splits "host:port", "[::1]:port" and either without a port. Empty: neither form.
std::optional<Endpoint> split_host(std::string_view text) {
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
  Endpoint address{.host = std::string(host), .port = default_port};
  if (rest.empty()) return address;
  const auto port = rest.starts_with(':')
                        ? parse_number<std::uint16_t>(rest.substr(1), 1,
                                                      std::numeric_limits<std::uint16_t>::max())
                        : std::nullopt;
  if (!port) return std::nullopt;
  address.port = *port;
  return address;
}

}  // namespace

std::string Endpoint::name() const {
  if (is_unix_socket()) return host;
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Endpoint parse_endpoint(std::string_view location) {
  constexpr std::string_view unix_scheme = "unix:";
  constexpr std::string_view tls_scheme = "tls://";
  std::string_view rest = location;
  std::uint32_t weight = 1;
  if (!take_weight(rest, weight)) {
    wrong("expected nothing after the server but \"?weight=\" and a number from 1 to 1000");
  }
  const bool wants_tls = rest.starts_with(tls_scheme);
  if (wants_tls) {
    rest.remove_prefix(tls_scheme.size());
    if (rest.starts_with('/') || rest.starts_with(unix_scheme)) {
      wrong("TLS is for servers that are reached by TCP; write tls://host:port");
    }
  }
  if (rest.starts_with(unix_scheme)) return parse_socket(rest.substr(unix_scheme.size()), weight);
  if (rest.starts_with('/')) return parse_socket(rest, weight);
  auto address = split_host(rest);
  if (!address) {
    wrong(
        "expected \"host:port\", \"host\", \"[address]:port\", any of these behind "
        "\"tls://\", or \"unix:/path\" (several servers are a list)");
  }
  address->weight = weight;
  address->wants_tls = wants_tls;
  return *std::move(address);
}

}  // namespace polycache::memcached
