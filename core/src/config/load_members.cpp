// The member "load" of an alias: how get_or_set() keeps values fresh.

#include <array>
#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "config/config_reader.h"
#include "polycache/author/text.h"
#include "polycache/load_options.h"

namespace polycache {
namespace {

using Kind = JsonNode::Kind;

constexpr std::array<std::string_view, 9> members{"refresh_after", "stale_if_error",   "throttle",
                                                  "early",         "jitter",           "soft_limit",
                                                  "hard_limit",    "negative_timeout", "lease"};
constexpr std::chrono::seconds default_lease{10};

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

// "0.8" or "1.0", but not "300" or "5m".
std::optional<double> parse_share(std::string_view text) {
  return text.find('.') == std::string_view::npos ? std::nullopt : parse_number(text);
}

// What to write instead of an unknown member.
std::string remedy_for(std::string_view name) {
  if (const auto meant = nearest(name, members)) return "did you mean " + quote(*meant) + "?";
  std::string list = "known members: ";
  for (const std::string_view member : members) {
    if (member != members.front()) list += ", ";
    list += quote(member);
  }
  return list;
}

}  // namespace

std::optional<Age> ConfigReader::age(const JsonNode& node, const std::string& path,
                                     bool may_be_share,
                                     std::optional<std::chrono::seconds> if_true) {
  if (node.kind == Kind::boolean && !node.boolean) return Age(off);
  if (node.kind == Kind::boolean && if_true) return Age(*if_true);
  if (node.kind == Kind::integer) return Age(std::chrono::seconds(node.integer));
  if (node.kind == Kind::number) {
    if (may_be_share) return Age(node.number);
    return Age(std::chrono::duration<double>(node.number));
  }
  if (node.kind == Kind::string) {
    const auto text = string(node, path);
    if (!text) return std::nullopt;
    if (*text == "false") return Age(off);
    if (*text == "true" && if_true) return Age(*if_true);
    if (const auto share = may_be_share ? parse_share(*text) : std::nullopt) return Age(*share);
    if (const auto duration = parse_duration(*text)) return Age(*duration);
  }
  const std::string share = may_be_share ? "a share of the lifetime such as 0.8, " : "";
  const std::string words = if_true ? "true or false" : "or false";
  expected_word(node, path, share + R"(a duration such as "50s", a number of seconds, )" + words);
  return std::nullopt;
}

std::optional<double> ConfigReader::number(const JsonNode& node, const std::string& path) {
  if (node.kind == Kind::integer) return static_cast<double>(node.integer);
  if (node.kind == Kind::number) return node.number;
  if (node.kind == Kind::string) {
    const auto text = string(node, path);
    if (!text) return std::nullopt;
    if (const auto value = parse_number(*text)) return value;
  }
  expected_word(node, path, "a number; 1 is optimal, 0 is off");
  return std::nullopt;
}

void ConfigReader::load(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (node.kind != Kind::object) {
    return expected(node, path, R"(an object such as {"refresh_after": 0.8})");
  }
  LoadPolicy& policy = cache.load;
  for (const JsonNode& member : node.children) {
    const std::string_view name = member.name;
    const std::string member_path = path + '.' + member.name;
    note(member, member_path);
    const auto span = [&](Span& to) {
      const auto value = age(member, member_path, false);
      if (value) to = value->is_off() ? Span(off) : Span(value->value());
    };
    if (name == "refresh_after" || name == "jitter") {
      const auto value = age(member, member_path, true);
      if (value) (name == "jitter" ? policy.jitter : policy.refresh_after) = *value;
    } else if (name == "stale_if_error") {
      span(policy.stale_if_error);
    } else if (name == "throttle") {
      span(policy.throttle);
    } else if (name == "soft_limit") {
      span(policy.soft_limit);
    } else if (name == "hard_limit") {
      span(policy.hard_limit);
    } else if (name == "early") {
      if (const auto value = number(member, member_path)) policy.early = *value;
    } else if (name == "negative_timeout") {
      if (const auto value = timeout_value(member, member_path)) policy.negative_timeout = *value;
    } else if (name == "lease") {
      const auto value = age(member, member_path, false, default_lease);
      if (value) policy.lease = value->is_off() ? Span(off) : Span(value->value());
    } else {
      reject(member.line, member_path, "unknown member; " + remedy_for(name));
    }
  }
}

}  // namespace polycache
