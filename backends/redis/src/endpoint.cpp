#include "endpoint.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "polycache/author/text.h"

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

std::string parse_port(std::string_view text) {
  const auto number = whole_number(text, 65535);
  // A non-number may be a password whose '@' and host are missing.
  if (!number || *number == 0) wrong("expected a port from 1 to 65535 after the host's ':'");
  return std::to_string(*number);
}

// "host", "host:port", "[::1]:port".
void parse_host(std::string_view text, Endpoint& to) {
  std::string_view port;
  const bool in_brackets = text.starts_with('[');
  if (in_brackets) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) wrong("an IPv6 address begins with '[' but has no ']'");
    to.host = text.substr(1, close - 1);
    port = text.substr(close + 1);
    if (!port.empty() && port.front() != ':') wrong("expected ':' and a port after the ']'");
  } else {
    const std::size_t colon = text.find(':');
    if (colon != text.rfind(':')) wrong("an IPv6 address must be in brackets: [::1]:6379");
    to.host = percent_decoded(text.substr(0, colon), "host");
    if (colon != std::string_view::npos) port = text.substr(colon);
  }
  if (to.host.empty()) wrong("it names no host");
  if (!is_host(to.host) || in_brackets != (to.host.find(':') != std::string::npos)) {
    wrong("expected the name or the address of a host");
  }
  to.port = port.empty() ? "6379" : parse_port(port.substr(1));
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

// Removes the part before the '@' from `rest`. A password may contain '@', '/' and '?' only
// encoded, as in every URL; if it does not comply, no part of it may appear in a message.
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

void parse_server_url(std::string_view rest, Endpoint& to) {
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

void check_socket_path(std::string_view text) {
  if (!text.starts_with('/') || text.starts_with("//")) {
    wrong("the path of a socket must begin with '/', and with one only: unix:///run/redis.sock");
  }
  if (!is_socket_path(text)) {
    wrong("the path of a socket has a character that only unix:// takes, encoded as %2C or %20");
  }
}

void take_socket_path(std::string path, Endpoint& to) {
  constexpr std::size_t longest_path = 107;  // the capacity of sockaddr_un
  if (path.size() > longest_path) wrong("the path of the socket is longer than 107 bytes");
  to.socket = std::move(path);
}

void parse_socket_url(std::string_view rest, Endpoint& to) {
  take_credentials(rest, to);
  const std::size_t question = std::min(rest.find('?'), rest.size());
  if (question < rest.size()) parse_query(rest.substr(question + 1), to);
  const std::string_view path = rest.substr(0, question);
  check_socket_path(path);
  take_socket_path(percent_decoded(path, "path"), to);
}

void parse_url(std::string_view scheme, std::string_view rest, Endpoint& to) {
  if (scheme == "redis" || scheme == "rediss") {
    to.wants_tls = scheme == "rediss";
    parse_server_url(rest, to);
  } else if (scheme == "unix") {
    parse_socket_url(rest, to);
  } else {
    wrong("it has an unknown scheme; redis://, rediss:// and unix:// are known");
  }
}

// --- "host:6380,password=...,ssl=True", the format of StackExchange.Redis and Azure ---

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return result;
}

bool parse_truth(std::string_view text) {
  const std::string word = lower(text);
  if (word != "true" && word != "false")
    wrong("expected true or false after ssl= or abortConnect=");
  return word == "true";
}

// Names only our own members: the text may be the rest of a password that contains a ','.
[[noreturn]] void refuse_member(std::string_view lower_name) {
  static constexpr std::array<std::string_view, 21> foreign_members{
      "allowAdmin",     "asyncTimeout",  "channelPrefix",      "checkCertificateRevocation",
      "clientName",     "configChannel", "configCheckSeconds", "connectRetry",
      "connectTimeout", "highIntegrity", "keepAlive",          "name",
      "protocol",       "proxy",         "resolveDns",         "serviceName",
      "setlib",         "sslHost",       "sslProtocols",       "syncTimeout",
      "tiebreaker"};
  for (const std::string_view name : foreign_members) {
    if (lower(name) != lower_name) continue;
    wrong("its member " + std::string(name) + " is not known here; remove it");
  }
  wrong(
      "it has an unknown member; known are user, password, port, ssl, defaultDatabase and "
      "abortConnect");
}

void take_member(std::string_view name, std::string_view value, Endpoint& to, bool has_port) {
  const std::string word = lower(name);
  if (word == "password") {
    if (!value.empty()) to.password = value;
  } else if (word == "user") {
    if (!value.empty()) to.user = value;
  } else if (word == "ssl") {
    to.wants_tls = parse_truth(value);
  } else if (word == "port") {
    if (has_port) wrong("it names two ports");
    to.port = parse_port(value);
  } else if (word == "defaultdatabase") {
    to.database = parse_database(value);
  } else if (word == "abortconnect") {
    parse_truth(value);  // no effect: connections are always opened on demand
  } else {
    refuse_member(word);
  }
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

void parse_members(std::string_view text, Endpoint& to) {
  const std::size_t comma = text.find(',');
  const std::string_view server = text.substr(0, comma);
  parse_host(server, to);
  const std::size_t bracket = server.rfind(']');
  const bool has_port =
      server.find(':', bracket == std::string_view::npos ? 0 : bracket) != std::string_view::npos;
  std::vector<std::string> seen;
  for (std::string_view rest = text.substr(comma); !rest.empty();) {
    rest.remove_prefix(1);
    const std::string_view part = trimmed(rest.substr(0, rest.find(',')));
    rest.remove_prefix(std::min(rest.find(','), rest.size()));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) {
      wrong("expected NAME=VALUE after each ','; several servers are a list");
    }
    std::string name = lower(part.substr(0, equals));
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) wrong("it has a member twice");
    seen.push_back(std::move(name));
    take_member(part.substr(0, equals), part.substr(equals + 1), to, has_port);
  }
}

}  // namespace

std::string Endpoint::name() const {
  if (!socket.empty()) return "unix:" + socket;
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port;
}

Endpoint parse_endpoint(std::string_view location) {
  Endpoint endpoint;
  const std::size_t scheme_end = location.find("://");
  const std::size_t comma = location.find(',');
  constexpr std::string_view unix_prefix = "unix:";
  if (location.starts_with('/')) {
    check_socket_path(location);
    take_socket_path(std::string(location), endpoint);
  } else if (comma < scheme_end) {
    parse_members(location, endpoint);
  } else if (scheme_end != std::string_view::npos) {
    parse_url(location.substr(0, scheme_end), location.substr(scheme_end + 3), endpoint);
  } else if (location.starts_with(unix_prefix)) {
    check_socket_path(location.substr(unix_prefix.size()));
    take_socket_path(std::string(location.substr(unix_prefix.size())), endpoint);
  } else if (location.find_first_of("@/?#") != std::string_view::npos) {
    wrong("expected host:port, a path, or a URL that begins with redis:// or unix://");
  } else {
    parse_host(location, endpoint);
  }
  return endpoint;
}

}  // namespace polycache::redis
