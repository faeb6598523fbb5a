#include "endpoint.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <stdexcept>

namespace polycache::redis {
namespace {

[[noreturn]] void wrong(const std::string& what) { throw std::invalid_argument(what); }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// `what` names the part in messages, since the part itself may be secret.
std::string percent_decoded(std::string_view text, const std::string& what) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      wrong("the " + what + " has a '%' without two hexadecimal digits; write '%' itself as %25");
    }
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  if (decoded.find('\0') != std::string::npos) wrong("the " + what + " holds a zero byte");
  return decoded;
}

std::optional<int> whole_number(std::string_view text, int max) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0 || number > max) {
    return std::nullopt;
  }
  return number;
}

int parse_database(std::string_view text) {
  const auto number = whole_number(text, std::numeric_limits<int>::max());
  if (!number) wrong("expected the number of a database");
  return *number;
}

// "user:password", "user" (its password is an option then), ":password".
void parse_credentials(std::string_view text, Endpoint& to) {
  const std::size_t colon = text.find(':');
  const std::string user = percent_decoded(text.substr(0, colon), "user name");
  if (!user.empty()) to.user = user;
  if (colon == std::string_view::npos) return;
  const std::string password = percent_decoded(text.substr(colon + 1), "password");
  if (!password.empty()) to.password = password;
}

// "host", "host:port", "[::1]:port".
void parse_host(std::string_view text, Endpoint& to) {
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) wrong("an IPv6 address begins with '[' but has no ']'");
    to.host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') wrong("expected ':' and a port after the ']'");
    port = rest;
  } else {
    const std::size_t colon = text.find(':');
    if (colon != text.rfind(':')) wrong("an IPv6 address must be in brackets: [::1]:6379");
    to.host = percent_decoded(text.substr(0, colon), "host");
    if (colon != std::string_view::npos) port = text.substr(colon);
  }
  if (to.host.empty()) wrong("it names no host");
  to.port = "6379";
  if (port.empty()) return;
  const auto number = whole_number(port.substr(1), 65535);
  // What is no number may be a password whose '@' and host were forgotten.
  if (!number || *number == 0) wrong("expected a port from 1 to 65535 behind the host's ':'");
  to.port = std::to_string(*number);
}

void parse_query(std::string_view query, Endpoint& to) {
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    if (!part.starts_with("db=")) {
      wrong("it has an unknown parameter; only db is known");
    }
    if (to.database) wrong("it names two databases");
    to.database = parse_database(part.substr(3));
  }
}

// Removes what stands before the '@' from `rest`. A password may hold '@', '/' and '?' only
// encoded, as in every URL; where one does not, no part of it may end up in a message.
void take_credentials(std::string_view& rest, Endpoint& to) {
  const std::size_t at = rest.substr(0, rest.find_first_of("/?#")).rfind('@');
  const bool here = at != std::string_view::npos;
  const std::string_view behind = here ? rest.substr(at + 1) : rest;
  if (behind.find('@') != std::string_view::npos && !behind.starts_with('/')) {
    wrong("it has an '@' after a '/', '?' or '#'; in a password write %40, %2F, %3F or %23");
  }
  if (here) parse_credentials(rest.substr(0, at), to);
  rest = behind;
}

void parse_url(std::string_view rest, Endpoint& to) {
  take_credentials(rest, to);
  const std::size_t question = std::min(rest.find('?'), rest.size());
  std::string_view path = rest.substr(0, question);
  if (question < rest.size()) parse_query(rest.substr(question + 1), to);
  const std::size_t slash = std::min(path.find('/'), path.size());
  parse_host(path.substr(0, slash), to);
  path.remove_prefix(std::min(slash + 1, path.size()));
  if (path.empty()) return;
  if (to.database) wrong("it names two databases");
  to.database = parse_database(path);
}

void parse_socket(std::string_view rest, Endpoint& to) {
  take_credentials(rest, to);
  const std::size_t question = std::min(rest.find('?'), rest.size());
  if (question < rest.size()) parse_query(rest.substr(question + 1), to);
  to.socket = percent_decoded(rest.substr(0, question), "path");
  if (!to.socket.starts_with('/')) {
    wrong("the path of a socket must begin with '/', as in unix:///run/redis.sock");
  }
  constexpr std::size_t kLongest = 107;  // what sockaddr_un holds
  if (to.socket.size() > kLongest) wrong("the path of the socket is longer than 107 bytes");
}

}  // namespace

std::string Endpoint::name() const {
  if (!socket.empty()) return "unix:" + socket;
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port;
}

Endpoint parse_endpoint(std::string_view location) {
  Endpoint endpoint;
  const std::size_t scheme_end = location.find("://");
  if (scheme_end == std::string_view::npos) {
    if (location.starts_with('/')) {
      endpoint.socket = location;
      constexpr std::size_t kLongest = 107;
      if (location.size() > kLongest) wrong("the path of the socket is longer than 107 bytes");
    } else {
      if (location.find_first_of("@/?#") != std::string_view::npos) {
        wrong("expected host:port, a path, or a URL that begins with redis:// or unix://");
      }
      parse_host(location, endpoint);
    }
    return endpoint;
  }
  const std::string_view scheme = location.substr(0, scheme_end);
  const std::string_view rest = location.substr(scheme_end + 3);
  if (scheme == "redis" || scheme == "rediss") {
    endpoint.wants_tls = scheme == "rediss";
    parse_url(rest, endpoint);
  } else if (scheme == "unix") {
    parse_socket(rest, endpoint);
  } else {
    wrong("unknown scheme; redis://, rediss:// and unix:// are known");
  }
  return endpoint;
}

}  // namespace polycache::redis
