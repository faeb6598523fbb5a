#include "polycache/author/text.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/rounded_up.h"

namespace polycache {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

// Reads "<number><unit>" from the front of `text`. The number is digits with an optional
// fraction; the unit is all letters that follow.
std::optional<double> take_quantity(std::string_view& text, std::span<const Unit> units) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  double number = 0;
  const auto [rest, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto end = std::find_if_not(text.begin(), text.end(), is_letter);
  const std::string_view name = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(name.size());
  for (const Unit& unit : units) {
    if (unit.name == name) return number * unit.factor;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> rounded_up(double value) noexcept {
  if (!(std::fabs(value) < 9.2e18)) return std::nullopt;
  if (value == std::floor(value)) return static_cast<std::int64_t>(value);
  return static_cast<std::int64_t>(std::ceil(value - std::fabs(value) * 1e-15));
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  static constexpr std::array<Unit, 6> units{
      {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}, {"w", 604800e3}}};
  static constexpr std::array<Unit, 1> no_unit{{{"", 1e3}}};
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  double total = 0;
  if (text.find_first_not_of("0123456789.") == std::string_view::npos) {
    const auto seconds = take_quantity(text, no_unit);
    if (!seconds || !text.empty()) return std::nullopt;
    total = *seconds;
  }
  while (!text.empty()) {
    const auto part = take_quantity(text, units);
    if (!part) return std::nullopt;
    total += *part;
  }
  const auto ms = rounded_up(negative ? -total : total);
  if (!ms) return std::nullopt;
  return std::chrono::milliseconds(*ms);
}

std::optional<std::int64_t> parse_size(std::string_view text) {
  static constexpr std::array<Unit, 10> units{{{"", 1},
                                               {"B", 1},
                                               {"kB", 1e3},
                                               {"MB", 1e6},
                                               {"GB", 1e9},
                                               {"TB", 1e12},
                                               {"KiB", 1024.0},
                                               {"MiB", 1048576.0},
                                               {"GiB", 1073741824.0},
                                               {"TiB", 1099511627776.0}}};
  const auto bytes = take_quantity(text, units);
  if (!bytes || !text.empty()) return std::nullopt;
  return rounded_up(*bytes);
}

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates) {
  // Edit distance with transpositions (optimal string alignment); at most a third of the word may
  // be wrong.
  const auto distance = [](std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
      for (std::size_t j = 1; j <= b.size(); ++j) {
        d[i][j] = std::min(
            {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
      }
    }
    return d[a.size()][b.size()];
  };
  constexpr std::size_t longest = 64;
  if (word.size() > longest) return std::nullopt;
  std::optional<std::string_view> best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > longest) continue;
    const std::size_t d = distance(word, candidate);
    if (d < best_distance) {
      best_distance = d;
      best = candidate;
    }
  }
  return best;
}

namespace {

// Length of the UTF-8 sequence at the front of `text`, or 0 if it is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 && first < 0xF5   ? 4
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first >= 0xC2 && first < 0xE0 ? 2
                                                             : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  return length;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

template <class Accepts>
bool consists_of(std::string_view text, Accepts accepts) {
  return std::all_of(text.begin(), text.end(), accepts);
}

template <std::size_t size>
bool is_address(int family, std::string_view text) noexcept {
  char terminated[64];
  if (text.size() >= sizeof terminated) return false;
  terminated[text.copy(terminated, sizeof terminated - 1)] = '\0';
  unsigned char address[size];
  return ::inet_pton(family, terminated, address) == 1;
}

// "fe80::1%eth0": a zone is a network interface's name or number.
bool is_ipv6(std::string_view text) noexcept {
  const std::size_t percent = std::min(text.find('%'), text.size());
  const std::string_view zone = text.substr(std::min(percent + 1, text.size()));
  if (percent < text.size() && (zone.empty() || zone.size() > 15)) return false;
  const auto of_zone = [](char c) {
    return is_letter(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
  };
  return consists_of(zone, of_zone) && is_address<16>(AF_INET6, text.substr(0, percent));
}

bool is_label(std::string_view text) noexcept {
  const auto of_label = [](char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '-'; };
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
         consists_of(text, of_label);
}

// "host", "host:", "host:6379", "[::1]:6379".
bool is_authority(std::string_view text) {
  std::string_view host = text.substr(0, text.find(':'));
  std::string_view rest = text.substr(host.size());
  const bool in_brackets = text.starts_with('[');
  if (in_brackets) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return false;
    host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  }
  if (!is_host(host) || in_brackets != (host.find(':') != std::string_view::npos)) return false;
  if (rest.empty()) return true;
  return rest.front() == ':' && rest.size() <= 6 && consists_of(rest.substr(1), is_digit);
}

// "user:password@...".
bool has_user(std::string_view text) {
  const std::size_t at = text.rfind('@');
  return at != std::string_view::npos && text.find(':') < at;
}

// Whether it can only be a path: it contains no separator or assignment, as connection strings of
// other programs do.
bool is_plain_path(std::string_view text) {
  const bool is_rooted = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
  const auto of_path = [&](char c) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_letter(c) || is_digit(c) || byte >= 0x80) return true;
    return std::string_view(is_rooted ? "._~/+-%@: " : "._~/+-").find(c) != std::string_view::npos;
  };
  return !text.empty() && text.find("//") == std::string_view::npos && !has_user(text) &&
         consists_of(text, of_path);
}

bool is_scheme(std::string_view text) {
  const auto of_scheme = [](char c) {
    return is_letter(c) || is_digit(c) || c == '+' || c == '.' || c == '-';
  };
  return !text.empty() && is_letter(text.front()) && consists_of(text, of_scheme);
}

// The part after "scheme://", up to the '?', without its credentials. Of a path after a host, only
// a number is shown. Empty if malformed.
std::optional<std::string> without_user(std::string_view rest) {
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    const std::string_view credentials = rest.substr(0, at);
    rest.remove_prefix(at + 1);
    if (credentials.find_first_of("/#") != std::string_view::npos) return std::nullopt;
    if (rest.find('@') != std::string_view::npos) return std::nullopt;
  }
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view authority = rest.substr(0, slash);
  const std::string_view path = rest.substr(slash);
  if (authority.empty() ? path.empty() : !is_authority(authority)) return std::nullopt;
  if (!path.empty() && !is_plain_path(path)) return std::nullopt;
  const bool is_shown = authority.empty() || path.empty() || consists_of(path.substr(1), is_digit);
  return std::string(authority).append(is_shown ? path : "/...");
}

// In double quotes, cut after about `most` characters.
std::string quote_most(std::string_view text, std::size_t most) {
  static constexpr char hex[] = "0123456789abcdef";
  std::string out = "\"";
  while (!text.empty() && out.size() <= most) {
    const auto c = static_cast<unsigned char>(text.front());
    const std::size_t length = utf8_length(text);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20 || c == 0x7f || length == 0) {
      out += "\\x";
      out += hex[c >> 4U];
      out += hex[c & 0xFU];
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  if (!text.empty()) out += "...";
  out += '"';
  return out;
}

}  // namespace

std::string quote(std::string_view text) { return quote_most(text, 80); }

std::string quote_path(std::string_view path) { return quote_most(path, std::string::npos); }

bool is_host(std::string_view text) noexcept {
  if (text.find(':') != std::string_view::npos) return is_ipv6(text);
  if (text.ends_with('.')) text.remove_suffix(1);  // a fully qualified name
  if (text.empty() || text.size() > 253) return false;
  // A name that ends in a number is an address: the system reads "123456" as 0.1.226.64.
  if (consists_of(text.substr(text.rfind('.') + 1), is_digit)) {
    return is_address<4>(AF_INET, text);
  }
  for (std::string_view rest = text;;) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    if (!is_label(rest.substr(0, dot))) return false;
    if (dot == rest.size()) return true;
    rest.remove_prefix(dot + 1);
  }
}

bool is_socket_path(std::string_view text) noexcept {
  const auto of_path = [](char c) {
    constexpr std::string_view foreign = "?#;,&=\"'`<>|\\{}";
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte != 0x7f && foreign.find(c) == std::string_view::npos;
  };
  return text.starts_with('/') && !text.starts_with("//") && !has_user(text) &&
         consists_of(text, of_path);
}

std::string without_credentials(std::string_view location) {
  const std::size_t question = std::min(location.find('?'), location.size());
  const std::string_view tail = question < location.size() ? "?..." : "";
  const std::string_view plain = location.substr(0, question);
  const std::size_t scheme = plain.find("://");
  if (scheme != std::string_view::npos && is_scheme(plain.substr(0, scheme))) {
    std::string shown(plain.substr(0, scheme + 3));
    // If one of these follows, the '?' may be part of a password.
    const bool is_whole = location.find_first_of("@#", question) == std::string_view::npos;
    const auto rest = is_whole ? without_user(plain.substr(scheme + 3)) : std::nullopt;
    return rest ? shown.append(*rest).append(tail) : shown.append("...");
  }
  std::string_view bare = plain;
  for (const std::string_view start : {"unix:", ":memory:"}) {
    if (bare.starts_with(start)) bare.remove_prefix(start.size());
  }
  if (!bare.empty() && !is_authority(bare) && !is_plain_path(bare)) return "...";
  return std::string(plain).append(tail);
}

}  // namespace polycache
