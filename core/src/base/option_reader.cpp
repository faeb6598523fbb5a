#include "polycache/author/option_reader.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "base/rounded_up.h"
#include "base/shown.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

bool speaks_of_secrets(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const std::string_view word :
       {"pass", "pwd", "secret", "token", "user", "credential", "auth", "login", "private"}) {
    if (lower.find(word) != std::string::npos) return true;
  }
  return lower.ends_with("key") || lower.ends_with("keys");
}

std::string spelled(const OptionValue& value) {
  if (const auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (const auto* i = std::get_if<std::int64_t>(&value)) return std::to_string(*i);
  if (const auto* d = std::get_if<double>(&value)) {
    std::string text = std::to_string(*d);
    return text;
  }
  if (const auto* s = std::get_if<std::string>(&value)) {
    return is_word_like(*s) ? quote(*s) : "a text that is not shown";
  }
  return "a list";
}

std::string spelled(std::chrono::milliseconds ms) {
  if (ms.count() != 0 && ms.count() % 1000 == 0) return std::to_string(ms.count() / 1000) + "s";
  return std::to_string(ms.count()) + "ms";
}

// A string that consists of a number only, as a ${...} or a command line provides it.
template <class Number>
std::optional<Number> number_in(const OptionValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  if (text == nullptr) return std::nullopt;
  Number number{};
  const char* const end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, number);
  if (error != std::errc() || rest != end || !std::isfinite(static_cast<double>(number))) {
    return std::nullopt;
  }
  return number;
}

std::optional<std::int64_t> integer_in(const OptionValue& value) {
  if (const auto* i = std::get_if<std::int64_t>(&value)) return *i;
  constexpr double exact = 9007199254740992.0;  // beyond, a double is not exact
  if (const auto* d = std::get_if<double>(&value)) {
    if (*d != std::floor(*d) || std::fabs(*d) > exact) return std::nullopt;
    return static_cast<std::int64_t>(*d);
  }
  return number_in<std::int64_t>(value);
}

}  // namespace

OptionReader::OptionReader(std::string path, const std::vector<std::string>& location,
                           const OptionMap& options, ProblemHandler on_problem,
                           std::string_view infix)
    : path_(std::move(path)),
      infix_(infix),
      location_(location),
      options_(options),
      on_problem_(std::move(on_problem)) {}

bool OptionReader::is_hidden(std::string_view name) const {
  return speaks_of_secrets(name) || hidden_.contains(name);
}

bool OptionReader::has(std::string_view name) const noexcept {
  return options_.find(name) != options_.end();
}

const OptionValue* OptionReader::find(std::string_view name) const {
  read_.emplace(name);
  const auto it = options_.find(name);
  return it == options_.end() ? nullptr : &it->second;
}

std::string OptionReader::member(std::string_view name) const {
  return path_ + infix_ + std::string(name);
}

void OptionReader::report(std::string_view member, std::string_view problem) const {
  if (!on_problem_) throw ConfigError(std::string(member) + ": " + std::string(problem));
  on_problem_(member, problem);
}

void OptionReader::expected(std::string_view name, std::string_view what,
                            const OptionValue& got) const {
  std::string problem = "expected " + std::string(what);
  if (!is_hidden(name)) problem += ", got " + spelled(got);
  report(member(name), problem);
}

void OptionReader::reject(std::string_view name, std::string_view problem) const {
  read_.emplace(name);  // it is known, and reported once
  report(member(name), problem);
}

void OptionReader::reject_location(std::string_view problem) const {
  report(path_ + ".location", problem);
}

bool OptionReader::boolean(std::string_view name, bool fallback) const {
  const OptionValue* const value = find(name);
  if (value == nullptr) return fallback;
  if (const auto* b = std::get_if<bool>(value)) return *b;
  if (const auto* s = std::get_if<std::string>(value); s != nullptr) {
    if (*s == "true") return true;
    if (*s == "false") return false;
  }
  expected(name, "true or false", *value);
  return fallback;
}

std::int64_t OptionReader::integer(std::string_view name, std::int64_t fallback, std::int64_t min,
                                   std::int64_t max) const {
  const OptionValue* const value = find(name);
  if (value == nullptr) return fallback;
  const std::optional<std::int64_t> number = integer_in(*value);
  if (!number) {
    expected(name, "an integer", *value);
    return fallback;
  }
  if (*number < min || *number > max) {
    std::string what = "an integer";
    if (min != std::numeric_limits<std::int64_t>::min()) what += " from " + std::to_string(min);
    if (max != std::numeric_limits<std::int64_t>::max()) what += " up to " + std::to_string(max);
    expected(name, what, *value);
    return fallback;
  }
  return *number;
}

double OptionReader::number(std::string_view name, double fallback) const {
  const OptionValue* const value = find(name);
  if (value == nullptr) return fallback;
  if (const auto* d = std::get_if<double>(value)) return *d;
  if (const auto* i = std::get_if<std::int64_t>(value)) return static_cast<double>(*i);
  if (const auto number = number_in<double>(*value)) return *number;
  expected(name, "a number", *value);
  return fallback;
}

std::string OptionReader::string(std::string_view name, std::string_view fallback) const {
  const OptionValue* const value = find(name);
  if (value == nullptr) return std::string(fallback);
  if (const auto* s = std::get_if<std::string>(value)) return *s;
  expected(name, "a string in quotes", *value);
  return std::string(fallback);
}

std::vector<std::string> OptionReader::strings(std::string_view name) const {
  const OptionValue* const value = find(name);
  if (value == nullptr) return {};
  if (const auto* list = std::get_if<std::vector<std::string>>(value)) return *list;
  if (const auto* s = std::get_if<std::string>(value)) return {*s};
  expected(name, "a string in quotes, or a list of strings", *value);
  return {};
}

std::chrono::milliseconds OptionReader::duration(std::string_view name,
                                                 std::chrono::milliseconds fallback,
                                                 std::chrono::milliseconds min) const {
  const OptionValue* const value = find(name);
  if (value == nullptr) return fallback;
  std::optional<std::chrono::milliseconds> result;
  if (const auto* s = std::get_if<std::string>(value)) {
    result = parse_duration(*s);
  } else if (std::holds_alternative<std::int64_t>(*value) ||
             std::holds_alternative<double>(*value)) {
    if (const auto ms = rounded_up(number(name, 0) * 1e3)) result = std::chrono::milliseconds(*ms);
  }
  if (!result) {
    expected(name, R"(a duration such as "250ms" or "5m", or a number of seconds)", *value);
    return fallback;
  }
  if (*result < min) {
    expected(name, "a duration of at least " + spelled(min), *value);
    return fallback;
  }
  return *result;
}

std::int64_t OptionReader::bytes(std::string_view name, std::int64_t fallback,
                                 std::int64_t min) const {
  const OptionValue* const value = find(name);
  if (value == nullptr) return fallback;
  std::optional<std::int64_t> result;
  if (const auto* s = std::get_if<std::string>(value)) {
    result = parse_size(*s);
  } else if (const auto number = integer_in(*value); number && *number >= 0) {
    result = number;
  }
  if (!result) {
    expected(name, R"(a size such as "64MiB", or a number of bytes)", *value);
    return fallback;
  }
  if (*result < min) {
    expected(name, "a size of at least " + std::to_string(min) + " bytes", *value);
    return fallback;
  }
  return *result;
}

std::string OptionReader::choice(std::string_view name,
                                 std::initializer_list<std::string_view> words,
                                 std::string_view fallback) const {
  const OptionValue* const value = find(name);
  if (value == nullptr) return std::string(fallback);
  const auto* const word = std::get_if<std::string>(value);
  if (word != nullptr && std::find(words.begin(), words.end(), *word) != words.end()) return *word;
  std::string what = "one of";
  const char* separator = " ";
  for (const std::string_view known : words) {
    what += separator + quote(known);
    separator = ", ";
  }
  expected(name, what, *value);
  return std::string(fallback);
}

void OptionReader::reject_unread() const {
  std::vector<std::string_view> known(read_.begin(), read_.end());
  for (const auto& [name, value] : options_) {
    if (read_.contains(name)) continue;
    std::string problem = "unknown option";
    if (const auto near = nearest(name, known)) {
      problem += "; did you mean " + quote(*near) + "?";
    } else if (!known.empty()) {
      problem += "; known options:";
      const char* separator = " ";
      for (const std::string_view other : known) {
        problem += separator + quote(other);
        separator = ", ";
      }
    } else {
      problem += "; there are no options here";
    }
    report(member(name), problem);
  }
}

}  // namespace polycache
