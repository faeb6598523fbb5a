#include "config/config_reader.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <span>
#include <system_error>

#include "base/shown.h"
#include "config/django_names.h"
#include "config/substitution.h"
#include "polycache/author/text.h"

namespace polycache {
namespace {

using Kind = JsonNode::Kind;

std::string_view kind_of(const JsonNode& node) {
  switch (node.kind) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return node.boolean ? "true" : "false";
    case Kind::integer:
    case Kind::huge_integer:
    case Kind::number:
      return "a number";
    case Kind::string:
      return "a string";
    case Kind::list:
      return "a list";
    case Kind::object:
      return "an object";
  }
  return "something else";
}

std::string listed(std::span<const std::string_view> words) {
  std::string text;
  for (const std::string_view word : words) {
    if (!text.empty()) text += ", ";
    text += quote(word);
  }
  return text;
}

}  // namespace

// Accepts what apply() can address, and what keeps a message readable.
std::string problem_of_alias(std::string_view alias) {
  if (alias.empty()) return "an alias must not be empty";
  const bool printable = std::all_of(alias.begin(), alias.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;
  });
  if (!printable) return "the alias " + quote(alias) + " contains a control character";
  if (alias.find_first_of(".=") != std::string_view::npos) {
    return "the alias " + quote(alias) + " must not contain '.' or '='";
  }
  return "";
}

const std::array<ConfigReader::CacheMember, 14> ConfigReader::cache_members{{
    {"backend", &ConfigReader::backend},
    {"location", &ConfigReader::location},
    {"timeout", &ConfigReader::timeout},
    {"key_prefix", &ConfigReader::key_prefix},
    {"version", &ConfigReader::version},
    {"key_function", &ConfigReader::key_function},
    {"key_warnings", &ConfigReader::key_warnings},
    {"on_error", &ConfigReader::on_error},
    {"clear", &ConfigReader::clear},
    {"load", &ConfigReader::load},
    {"tag_version_cache", &ConfigReader::tag_version_cache},
    {"layers", &ConfigReader::layers},
    {"transform", &ConfigReader::transform},
    {"options", &ConfigReader::options},
}};

void ConfigReader::expected(const JsonNode& node, const std::string& path, std::string_view what) {
  std::string problem = std::string("expected ").append(what).append(", got ");
  problem.append(kind_of(node));
  const bool scalar = node.kind != Kind::null && node.kind != Kind::list &&
                      node.kind != Kind::object && node.kind != Kind::string;
  if (scalar && what.starts_with("a string")) problem += "; put it in quotes";
  reject(node.line, path, problem);
}

void ConfigReader::expected_word(const JsonNode& node, const std::string& path,
                                 std::string_view what) {
  std::string problem = std::string("expected ").append(what);
  if (node.kind == Kind::string) {
    if (node.text.find("${") != std::string::npos) {
      problem += "; the value of its ${...} is not shown";
    } else {
      problem += is_word_like(node.text) ? ", got " + quote(node.text)
                                         : std::string(", got a text that is not shown");
    }
  } else if (node.kind == Kind::integer) {
    problem += ", got " + std::to_string(node.integer);
  } else {
    problem.append(", got ").append(kind_of(node));
  }
  reject(node.line, path, problem);
}

std::optional<std::string> ConfigReader::string(const JsonNode& node, const std::string& path) {
  Substituted value = substitute(node.text, config_.folder);
  if (value.problem.empty() && value.text.find('\0') != std::string::npos) {
    value.problem = "must not contain a zero byte";
  }
  if (!value.problem.empty()) {
    reject(node.line, path, value.problem);
    return std::nullopt;
  }
  if (value.changed) config_.hidden.insert(path);
  return std::move(value.text);
}

std::optional<std::vector<std::string>> ConfigReader::strings(const JsonNode& node,
                                                              const std::string& path) {
  if (node.kind == Kind::list) return items(node, path);
  if (node.kind != Kind::string) {
    expected(node, path, "a string or a list of strings");
    return std::nullopt;
  }
  auto one = string(node, path);
  if (!one) return std::nullopt;
  return std::vector<std::string>{std::move(*one)};
}

std::optional<std::vector<std::string>> ConfigReader::items(const JsonNode& node,
                                                            const std::string& path) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const JsonNode& item = node.children[i];
    const std::string item_path = path + '[' + std::to_string(i) + ']';
    note(item, item_path);
    if (item.kind != Kind::string) {
      expected(item, item_path, "a string");
    } else if (auto value = string(item, item_path)) {
      // Code that shows the whole list must hide it, too.
      if (config_.hidden.contains(item_path)) config_.hidden.insert(path);
      result.push_back(std::move(*value));
    }
  }
  if (result.size() != node.children.size()) return std::nullopt;
  return result;
}

void ConfigReader::backend(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (node.kind != Kind::string) return expected(node, path, "a backend's name or a path");
  auto value = string(node, path);
  if (!value) return;
  const std::size_t dot = value->rfind('.');
  if (dot != std::string::npos && value->find('/') == std::string::npos) {
    if (const auto name = our_backend(std::string_view(*value).substr(dot + 1))) {
      return reject(node.line, path,
                    std::string("this is Django's name of a backend; write ").append(*name));
    }
  }
  if (value->empty()) {
    return reject(node.line, path, "must not be empty; write a backend's name, such as \"locmem\"");
  }
  cache.backend = std::move(*value);
}

void ConfigReader::location(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (auto value = strings(node, path)) cache.location = std::move(*value);
}

std::optional<Timeout> ConfigReader::timeout_value(const JsonNode& node, const std::string& path) {
  constexpr std::string_view what =
      R"(a duration such as "5m", a number of seconds, or null for never)";
  std::optional<Timeout> timeout;
  if (node.kind == Kind::null) {
    timeout = never;
  } else if (node.kind == Kind::integer) {
    timeout = std::chrono::seconds(node.integer);
  } else if (node.kind == Kind::number || node.kind == Kind::huge_integer) {
    timeout = std::chrono::duration<double>(node.number);
  } else if (node.kind == Kind::string) {
    const auto value = string(node, path);
    if (!value) return std::nullopt;
    if (const auto parsed = parse_duration(*value)) timeout = *parsed;
    if (*value == "null" || *value == "never") timeout = never;
  }
  if (!timeout) {
    expected_word(node, path, what);
    return std::nullopt;
  }
  const bool negative = timeout->value().count() < 0 || node.number < 0;
  if (!negative) return timeout;
  reject(node.line, path,
         "must not be negative; write 0 to store nothing, or null for values that never expire");
  return std::nullopt;
}

void ConfigReader::timeout(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (const auto value = timeout_value(node, path)) cache.timeout = *value;
}

void ConfigReader::key_prefix(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (node.kind != Kind::string) return expected(node, path, "a string");
  if (auto value = string(node, path)) cache.key_prefix = std::move(*value);
}

void ConfigReader::version(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  std::optional<int> version;
  if (node.kind == Kind::string) {
    const auto value = string(node, path);
    if (!value) return;
    int number = 0;
    const char* const end = value->data() + value->size();
    const auto [rest, error] = std::from_chars(value->data(), end, number);
    if (error == std::errc() && rest == end) version = number;
  } else if (node.kind == Kind::integer && std::in_range<int>(node.integer)) {
    version = static_cast<int>(node.integer);
  }
  if (!version) return expected_word(node, path, "an integer of 32 bits");
  cache.version = *version;
}

void ConfigReader::key_function(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (node.kind != Kind::string) return expected(node, path, "a key function's name");
  auto value = string(node, path);
  if (!value) return;
  if (value->empty()) {
    return reject(node.line, path, "must not be empty; remove it to use \"default\"");
  }
  cache.key_function = std::move(*value);
}

void ConfigReader::key_warnings(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  std::optional<bool> wanted;
  if (node.kind == Kind::string) {
    const auto value = string(node, path);
    if (!value) return;
    if (*value == "true" || *value == "false") wanted = *value == "true";
  } else if (node.kind == Kind::boolean) {
    wanted = node.boolean;
  }
  if (!wanted) return expected_word(node, path, "true or false");
  cache.key_warnings = *wanted;
}

std::optional<ErrorPolicy> ConfigReader::error_policy(const JsonNode& node,
                                                      const std::string& path) {
  if (node.kind == Kind::string) {
    const auto value = string(node, path);
    if (!value) return std::nullopt;
    if (*value == "miss") return ErrorPolicy::miss;
    if (*value == "throw") return ErrorPolicy::throw_error;
  }
  expected_word(node, path, R"("miss" or "throw")");
  return std::nullopt;
}

void ConfigReader::on_error(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (node.kind != Kind::object) {
    if (node.kind != Kind::string) {
      return expected_word(node, path, R"("miss", "throw", or an object with "read" and "write")");
    }
    if (const auto policy = error_policy(node, path)) cache.on_error = {*policy, *policy};
    return;
  }
  for (const JsonNode& member : node.children) {
    const std::string member_path = path + '.' + member.name;
    note(member, member_path);
    if (member.name != "read" && member.name != "write") {
      reject(member.line, member_path, R"(unknown member; known members: "read", "write")");
    } else if (const auto policy = error_policy(member, member_path)) {
      (member.name == "read" ? cache.on_error.read : cache.on_error.write) = *policy;
    }
  }
}

void ConfigReader::clear(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (node.kind == Kind::string) {
    const auto value = string(node, path);
    if (!value) return;
    if (*value == "store" || *value == "prefix") {
      cache.clear = *value == "store" ? ClearScope::store : ClearScope::prefix;
      return;
    }
  }
  expected_word(node, path, R"("store" or "prefix")");
}

void ConfigReader::tag_version_cache(const JsonNode& node, const std::string& path,
                                     CacheConfig& cache) {
  constexpr std::string_view what = R"(a duration such as "150ms", or 0 for none)";
  std::optional<Timeout> life;
  if (node.kind == Kind::string) {
    const auto value = string(node, path);
    if (!value) return;
    if (const auto parsed = parse_duration(*value)) life = *parsed;
  } else if (node.kind == Kind::integer) {
    life = std::chrono::seconds(node.integer);
  } else if (node.kind == Kind::number || node.kind == Kind::huge_integer) {
    life = std::chrono::duration<double>(node.number);
  }
  if (!life) return expected_word(node, path, what);
  if (life->value().count() < 0) return reject(node.line, path, "must not be negative");
  constexpr std::chrono::milliseconds year =
      std::chrono::hours{24 * 365};  // so that none overflows
  cache.tag_version_cache = life->is_never() ? year : std::min(life->value(), year);
}

void ConfigReader::reject_cache_member(const JsonNode& node, const std::string& path) {
  if (const auto name = our_member(node.name)) {
    return reject(node.line, path, std::string("this is Django's name; write ").append(*name));
  }
  std::array<std::string_view, cache_members.size()> known;
  std::transform(cache_members.begin(), cache_members.end(), known.begin(),
                 [](const CacheMember& member) { return member.name; });
  if (const auto near = nearest(node.name, known)) {
    return reject(node.line, path, "unknown member; did you mean " + quote(*near) + "?");
  }
  reject(node.line, path,
         "unknown member; known members: " + listed(known) +
             "; the backend's own options belong in \"options\"");
}

void ConfigReader::read_cache_member(const JsonNode& node, const std::string& path,
                                     CacheConfig& cache) {
  const auto member = std::find_if(cache_members.begin(), cache_members.end(),
                                   [&](const CacheMember& m) { return m.name == node.name; });
  if (member == cache_members.end()) return reject_cache_member(node, path);
  note(node, path);
  (this->*member->read)(node, path, cache);
}

void ConfigReader::read_cache(const JsonNode& node) {
  if (const std::string problem = problem_of_alias(node.name); !problem.empty()) {
    return reject(node.line, "caches", problem);
  }
  const std::string path = "caches." + node.name;
  note(node, path);
  if (node.kind != Kind::object) {
    return expected(node, path, R"(an object such as {"backend": "locmem"})");
  }
  CacheConfig cache;
  bool names_backend = false;
  for (const JsonNode& member : node.children) {
    names_backend = names_backend || member.name == "backend" || member.name == "BACKEND";
    read_cache_member(member, path + '.' + member.name, cache);
  }
  if (!names_backend) {
    reject(node.line, path + ".backend", "is missing; write a backend's name, such as \"locmem\"");
  }
  config_.caches.insert_or_assign(node.name, std::move(cache));
}

void ConfigReader::read_caches(const JsonNode& node) {
  if (node.kind != Kind::object) {
    return expected(node, "caches", R"(an object such as {"default": {"backend": "locmem"}})");
  }
  if (node.children.empty()) {
    reject(node.line, "caches",
           R"(contains no cache; the minimum is {"default": {"backend": "locmem"}})");
  }
  for (const JsonNode& cache : node.children) read_cache(cache);
}

void ConfigReader::read_section(const JsonNode& node, std::string_view text) {
  if (node.kind != Kind::object && node.kind != Kind::list) {
    return reject(node.line, node.name,
                  "unknown member; known members: " + listed(top_members) +
                      "; a section is an object or a list, and this is " +
                      std::string(kind_of(node)));
  }
  config_.sections.insert_or_assign(
      node.name, ConfigSection{.json = std::string(text.substr(node.begin, node.end - node.begin)),
                               .source = lines_ == Lines::shown ? source_ : "",
                               .line = node.value_line});
}

void ConfigReader::read_document(const JsonNode& root, std::string_view text) {
  if (root.kind != Kind::object) return expected(root, "", R"(an object: {"caches": {...}})");
  bool has_caches = false;
  for (const JsonNode& member : root.children) {
    note(member, member.name);
    if (member.name == "caches" || member.name == "CACHES") has_caches = true;
    if (member.name == "caches") {
      read_caches(member);
    } else if (member.name == "plugin_path") {
      if (const auto folders = strings(member, "plugin_path")) {
        config_.plugin_path.assign(folders->begin(), folders->end());
      }
    } else if (member.name == "allow_writable_plugins") {
      if (member.kind != Kind::boolean) expected_word(member, member.name, "true or false");
      config_.allow_writable_plugins = member.boolean;
    } else if (member.name == "$schema") {
      if (member.kind != Kind::string) expected(member, "$schema", "a string");
    } else if (const auto name = our_member(member.name)) {
      reject(member.line, member.name, std::string("this is Django's name; write ").append(*name));
    } else {
      read_section(member, text);
    }
  }
  if (!has_caches) {
    reject(root.line, "caches",
           R"(is missing; the minimum is "caches": {"default": {"backend": "locmem"}})");
  }
}

}  // namespace polycache
