#include "polycache/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

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

// Beyond 2^53 doubles skip integers, but nothing a person writes is that exact; what must
// not happen is undefined behaviour at the edge.
std::optional<std::int64_t> to_int64(double value) {
  if (!(std::fabs(value) < 9.2e18)) return std::nullopt;
  return static_cast<std::int64_t>(std::llround(value));
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  static constexpr std::array<Unit, 6> units{
      {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}, {"w", 604800e3}}};
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    const auto part = take_quantity(text, units);
    if (!part) return std::nullopt;
    total += *part;
  }
  const auto ms = to_int64(negative ? -total : total);
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
  return to_int64(*bytes);
}

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates) {
  // Edit distance with transpositions (optimal string alignment); a third of the word may
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

// Whether "user:password" stands where "host:port" should, its '@' and the host forgotten.
bool lacks_its_host(std::string_view authority) {
  const std::size_t bracket = authority.starts_with('[') ? authority.rfind(']') : 0;
  const std::size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon == std::string_view::npos) return false;
  const std::string_view port = authority.substr(colon + 1);
  return colon == 0 || port.size() > 5 ||
         port.find_first_not_of("0123456789") != std::string_view::npos;
}

}  // namespace

std::string quote(std::string_view text) {
  constexpr std::size_t most = 80;
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

std::string without_credentials(std::string_view location) {
  const std::size_t scheme = location.find("://");
  if (scheme == std::string_view::npos) {
    const std::size_t at = location.substr(0, location.find_first_of("/?#")).rfind('@');
    return std::string(at == std::string_view::npos ? location : location.substr(at + 1));
  }
  std::string shown(location.substr(0, scheme + 3));
  std::string_view rest = location.substr(scheme + 3);
  // The last '@', wherever it is: a password may hold one, and a '/' that is not escaped.
  const std::size_t at = rest.rfind('@');
  if (at != std::string_view::npos) rest.remove_prefix(at + 1);
  if (at == std::string_view::npos && lacks_its_host(rest.substr(0, rest.find_first_of("/?#")))) {
    return shown.append("...");
  }
  const std::size_t query = rest.find('?');  // it may hold a password, too
  shown.append(rest.substr(0, query));
  return query == std::string_view::npos ? shown : shown.append("?...");
}

}  // namespace polycache
