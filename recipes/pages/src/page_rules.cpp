#include "page_rules.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "polycache/detail/digest.h"

namespace polycache::detail::pages {

namespace {

using std::chrono::seconds;

char lower_letter(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view blanks = " \t";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// In a quoted string, a backslash makes the next character part of it; in an entity tag, not.
enum class Quotes : unsigned char { none, strings, entity_tags };

void add_elements(std::vector<std::string_view>& elements, std::string_view value, Quotes quotes) {
  const auto add = [&](std::string_view element) {
    element = trimmed(element);
    if (!element.empty()) elements.push_back(element);
  };
  bool is_quoted = false;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '"' && quotes != Quotes::none) is_quoted = !is_quoted;
    if (value[i] == '\\' && is_quoted && quotes == Quotes::strings) ++i;
    if (i >= value.size() || value[i] != ',' || is_quoted) continue;
    add(value.substr(begin, i - begin));
    begin = i + 1;
  }
  value.remove_prefix(begin);
  // A quote that is never closed must not hide a "no-store" after it.
  if (is_quoted) return add_elements(elements, value, Quotes::none);
  add(value);
}

// The elements of all lists in the fields of that name (RFC 9110, 5.6.1).
std::vector<std::string_view> elements_of(const PageHeaders& headers, std::string_view name,
                                          Quotes quotes) {
  std::vector<std::string_view> elements;
  for (const std::string_view value : headers.all(name)) add_elements(elements, value, quotes);
  return elements;
}

// RFC 9110, 5.6.2.
bool is_token(std::string_view text) noexcept {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~0123456789";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    const char letter = lower_letter(c);
    return (letter >= 'a' && letter <= 'z') || others.find(c) != std::string_view::npos;
  });
}

// RFC 9110, 8.6. What is wrong counts as a body.
bool has_body(const PageHeaders& headers) {
  if (headers.contains("Transfer-Encoding")) return true;
  const auto lengths = headers.all("Content-Length");
  return std::any_of(lengths.begin(), lengths.end(),
                     [](std::string_view length) { return trimmed(length) != "0"; });
}

// Delta-seconds (RFC 9111, 1.2.2): a number that is too large counts as 2^31.
std::optional<seconds> seconds_of(std::string_view text) {
  constexpr std::int64_t most = std::int64_t{1} << 31U;
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) {
    return std::nullopt;
  }
  std::int64_t number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end.ec != std::errc() || number > most) number = most;
  return seconds(number);
}

void add_directive(Directives& all, std::string_view element) {
  const std::size_t equals = element.find('=');
  const std::string_view name = trimmed(element.substr(0, equals));
  const auto is = [&](std::string_view other) { return equal_names(name, other); };
  if (is("no-store")) all.no_store = true;
  if (is("no-cache")) all.no_cache = true;
  if (is("private")) all.is_private = true;
  if (is("must-revalidate") || is("proxy-revalidate") || is("s-maxage")) all.no_stale = true;
  if (!is("max-age") && !is("s-maxage")) return;
  std::optional<seconds>& number = is("max-age") ? all.max_age : all.s_maxage;
  if (number) return;
  if (equals != std::string_view::npos) number = seconds_of(trimmed(element.substr(equals + 1)));
  if (!number) all.is_wrong = true;
}

std::optional<int> number_in(std::string_view text) noexcept {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

// "Sun, 06 Nov 1994 08:49:37 GMT", the only form that is to be sent (RFC 9110, 5.6.7).
std::optional<std::chrono::sys_seconds> date_of(std::string_view text) noexcept {
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (text.size() != 29 || text.substr(25) != " GMT" || text[19] != ':' || text[22] != ':') {
    return std::nullopt;
  }
  const std::size_t month = months.find(text.substr(8, 3));
  const auto day = number_in(text.substr(5, 2));
  const auto year = number_in(text.substr(12, 4));
  const auto hour = number_in(text.substr(17, 2));
  const auto minute = number_in(text.substr(20, 2));
  const auto second = number_in(text.substr(23, 2));
  if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  if (!day || !year || !hour || !minute || !second) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(month / 3 + 1)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
         seconds(*second);
}

std::optional<std::chrono::sys_seconds> sent_at(const PageAnswer& answer) {
  const std::string* const date = answer.headers.find("Date");
  return date == nullptr ? std::nullopt : date_of(trimmed(*date));
}

// RFC 9111, 4.2.1. Empty if the answer says nothing; zero or less: stale already.
std::optional<seconds> lifetime_in(const PageAnswer& answer, const Directives& said, Moment now) {
  if (said.s_maxage) return said.s_maxage;
  if (said.max_age) return said.max_age;
  const std::string* const expires = answer.headers.find("Expires");
  if (expires == nullptr) return std::nullopt;
  // A date that is none, such as "0", is in the past (RFC 9111, 5.3).
  const auto until = date_of(trimmed(*expires));
  if (!until) return seconds(0);
  return *until - sent_at(answer).value_or(std::chrono::floor<seconds>(now));
}

// RFC 9111, 4.2.3: of an answer that comes from another server, and does not say its Age.
seconds apparent_age(const PageAnswer& answer, Moment now) {
  const auto sent = sent_at(answer);
  return sent ? std::max(std::chrono::floor<seconds>(now) - *sent, seconds(0)) : seconds(0);
}

bool is_status_stored(int status) noexcept {
  constexpr std::array<int, 5> stored{200, 203, 301, 404, 410};
  return std::find(stored.begin(), stored.end(), status) != stored.end();
}

bool has_validator(int status) noexcept { return status == 200 || status == 203; }

// Weak comparison (RFC 9110, 8.8.3.2).
std::string_view opaque_tag(std::string_view entity_tag) noexcept {
  if (entity_tag.starts_with("W/")) entity_tag.remove_prefix(2);
  return entity_tag;
}

// RFC 9110, 13.1.2. Whether the client has what it asks for.
bool has_current(const PageRequest& request, std::string_view etag) {
  for (const auto element : elements_of(request.headers, "If-None-Match", Quotes::entity_tags)) {
    if (element == "*" || opaque_tag(element) == opaque_tag(etag)) return true;
  }
  return false;
}

// RFC 9110, 15.4.5; and what would be lost: a cookie, and the age (RFC 9111, 5.1).
PageAnswer not_modified(PageAnswer answer) {
  constexpr std::array<std::string_view, 8> kept{
      "age", "cache-control", "content-location", "date", "etag", "expires", "vary", "set-cookie"};
  PageAnswer result{.status = 304, .headers = {}, .body = {}, .tags = std::move(answer.tags)};
  for (const auto& [name, value] : answer.headers) {
    const std::string known = lower(name);
    if (std::find(kept.begin(), kept.end(), known) != kept.end()) result.headers.add(name, value);
  }
  return result;
}

}  // namespace

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = lower_letter(c);
  return result;
}

bool equal_names(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower_letter(x) == lower_letter(y); });
}

Directives directives_of(const PageHeaders& headers) {
  Directives all;
  for (const auto element : elements_of(headers, "Cache-Control", Quotes::strings)) {
    add_directive(all, element);
  }
  return all;
}

bool bypasses(const PageRequest& request) {
  return request.headers.contains("Authorization") || request.headers.contains("Range") ||
         has_body(request.headers) || directives_of(request.headers).no_store;
}

bool is_safe(std::string_view method) noexcept {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE";
}

std::vector<std::string> names_in(const PageHeaders& headers, std::string_view field) {
  std::vector<std::string> names;
  for (const auto element : elements_of(headers, field, Quotes::none)) {
    names.push_back(lower(element));
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::optional<Life> life_of(const PageAnswer& answer, const Timeout& timeout, Moment now) {
  const Directives said = directives_of(answer.headers);
  if (said.no_store || said.no_cache || said.is_private || said.is_wrong) return std::nullopt;
  if (!is_status_stored(answer.status) || answer.headers.contains("Set-Cookie")) {
    return std::nullopt;
  }
  const std::vector<std::string> vary = names_in(answer.headers, "Vary");
  // No request has a field whose name is wrong: the page would be that of all requests.
  const auto is_for_none = [](const std::string& name) { return name == "*" || !is_token(name); };
  if (std::any_of(vary.begin(), vary.end(), is_for_none)) return std::nullopt;
  Life life{.timeout = timeout, .age = {}, .no_stale = said.no_stale};
  if (const std::string* const age = answer.headers.find("Age")) {
    life.age = seconds_of(trimmed(*age)).value_or(seconds(0));
  }
  life.age = std::max(life.age, apparent_age(answer, now));
  if (const auto lifetime = lifetime_in(answer, said, now)) life.timeout = *lifetime;
  const bool ends = !life.timeout.is_default() && !life.timeout.is_never();
  if (ends && !life.timeout.is_moment()) life.timeout = life.timeout.value() - life.age;
  const auto from = life.timeout.is_moment() ? now.time_since_epoch() : seconds(0);
  if (ends && life.timeout.value() <= from) return std::nullopt;
  return life;
}

bool is_server_error(int status) noexcept {
  return status == 500 || status == 502 || status == 503 || status == 504;
}

void add_etag(PageAnswer& answer) {
  constexpr std::size_t digits = 32;
  if (!has_validator(answer.status) || answer.headers.contains("ETag")) return;
  answer.headers.add("ETag", '"' + sha256(answer.body).substr(0, digits) + '"');
}

PageAnswer finished(const PageRequest& request, PageAnswer answer) {
  const bool is_head = request.method == "HEAD";
  // The body of a HEAD's own answer is not that of the page.
  if (!is_head) add_etag(answer);
  const std::string* const etag = answer.headers.find("ETag");
  if (etag != nullptr && has_validator(answer.status) && has_current(request, trimmed(*etag))) {
    return not_modified(std::move(answer));
  }
  if (is_head) answer.body.clear();
  return answer;
}

}  // namespace polycache::detail::pages
