#include "polycache/config.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "base/shown.h"
#include "base/write_access.h"
#include "config/config_reader.h"
#include "config/json.h"
#include "config/problems.h"
#include "config/substitution.h"
#include "polycache/error.h"

namespace polycache {
namespace {

using Kind = JsonNode::Kind;

constexpr std::size_t most_of_file = std::size_t{16} << 20U;

// `writers`: why other users can write to the file; empty if they cannot.
Config read_config(std::string_view text, std::string_view source, std::filesystem::path folder,
                   std::string_view writers) {
  Config config;
  config.folder = std::move(folder);
  ConfigProblems problems;
  if (!writers.empty()) problems.add(source, "", writers);
  ConfigReader reader(config, problems, std::string(source), ConfigReader::Lines::shown);
  if (text.size() > most_of_file) {
    problems.add(source, "", "is larger than " + std::to_string(most_of_file / 1024) + " KiB");
    problems.throw_if_any();
  }
  const auto root = parse_json(text, [&](int line, std::string_view member, std::string_view what) {
    reader.reject(line, member, what);
  });
  if (root) reader.read_document(*root, text);
  problems.throw_if_any();
  return config;
}

Config load(const std::filesystem::path& file, std::string_view remedy) {
  const FileText content = read_file(file, most_of_file);
  if (!content.problem.empty()) {
    throw ConfigError((file.string() + ": " + content.problem).append(remedy));
  }
  // Absolute, so that it stays valid when the program changes its working folder.
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(file, error);
  Config config = read_config(content.text, file.string(), (error ? file : absolute).parent_path(),
                              writers_of(file));
  config.file = error ? file : absolute;
  return config;
}

// The parts of "default.timeout=60s".
struct Assignment {
  std::string_view alias;
  std::string_view member;  // "timeout", "options.max_entries"
  std::string_view value;
};

Assignment split(std::string_view text, ConfigProblems& problems, std::string_view place) {
  const std::size_t equals = text.find('=');
  const std::size_t dot = text.substr(0, equals).find('.');
  if (equals == std::string_view::npos || dot == std::string_view::npos) {
    // Not shown: it may contain a password.
    problems.add(place, "", R"(expected ALIAS.MEMBER=VALUE, such as "default.timeout=60s")");
    problems.throw_if_any();
  }
  return {text.substr(0, dot), text.substr(dot + 1, equals - dot - 1), text.substr(equals + 1)};
}

// Whether it can be the name of an alias or a member, and not the beginning of a URL.
bool is_name(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return is_plain_character(c) || c == ' ' || static_cast<unsigned char>(c) >= 0x80;
  });
}

// JSON, or else a string. A member that is always a string needs no quotes: "default.key_prefix=7".
// An option may be a string, too, such as a password of digits: it is kept as written, and read as
// a number if the store expects one.
JsonNode assigned_value(const Assignment& assignment, ConfigReader& reader) {
  JsonNode as_text{.kind = Kind::string, .text = std::string(assignment.value)};
  bool twice = false;
  auto node = parse_json(assignment.value, [&](int, std::string_view member, std::string_view) {
    if (member.empty()) return;
    twice = true;
  });
  if (!node) return as_text;
  if (twice)
    reader.reject(
        0, std::string("caches.").append(assignment.alias) + '.' + std::string(assignment.member),
        "one of its members is given twice");
  const bool always_text = assignment.member == "backend" || assignment.member == "location" ||
                           assignment.member == "key_prefix" || assignment.member == "key_function";
  const bool option = assignment.member.starts_with("options.") && node->kind != Kind::null;
  const bool scalar =
      node->kind != Kind::list && node->kind != Kind::object && node->kind != Kind::string;
  return (always_text || option) && scalar ? as_text : std::move(*node);
}

// Forgets the places of a member and its parts, since they are about to change.
template <class Names>
void forget(Names& names, std::string_view path, auto name_of) {
  std::erase_if(names, [&](const auto& entry) {
    const std::string_view name = name_of(entry);
    if (!name.starts_with(path)) return false;
    return name.size() == path.size() || name[path.size()] == '.' || name[path.size()] == '[';
  });
}

}  // namespace

Config Config::from_file(const std::filesystem::path& file) { return load(file, ""); }

Config Config::from_json(std::string_view text, std::string_view source_name) {
  return read_config(text, source_name, {}, {});
}

Config Config::from_environment() {
  // Ignored in a program with more rights than its user, who must not choose its plugins.
  const char* const file = ::secure_getenv("POLYCACHE_CONFIG");
  if (file == nullptr || *file == '\0') return {.caches = {{"default", {.backend = "locmem"}}}};
  return load(file, "; POLYCACHE_CONFIG names this file");
}

void Config::apply(std::string_view assignment, std::string_view place) {
  ConfigProblems problems;
  const Assignment parts = split(assignment, problems, place);
  if (!is_name(parts.member) || !(is_name(parts.alias) || caches.contains(parts.alias))) {
    problems.add(place, "",
                 R"(expected ALIAS.MEMBER=VALUE, such as "default.timeout=60s"; the text before )"
                 "the '=' is not an alias and a member, and is not shown since it may contain a "
                 "password");
    problems.throw_if_any();
  }
  if (const std::string problem = problem_of_alias(parts.alias); !problem.empty()) {
    problems.add(place, "", problem);
    problems.throw_if_any();
  }
  const std::string path =
      std::string("caches.").append(parts.alias).append(".").append(parts.member);
  Config changed = *this;
  forget(changed.places, path, [](const auto& entry) -> std::string_view { return entry.first; });
  forget(changed.hidden, path, [](const auto& entry) -> std::string_view { return entry; });

  ConfigReader reader(changed, problems, std::string(place), ConfigReader::Lines::none);
  JsonNode node = assigned_value(parts, reader);
  changed.places.try_emplace(std::string("caches.").append(parts.alias), place);
  CacheConfig& cache = changed.caches[std::string(parts.alias)];
  constexpr std::string_view options = "options.";
  if (parts.member.starts_with(options)) {
    node.name = parts.member.substr(options.size());
    changed.places.insert_or_assign(path, std::string(place));
    reader.read_option(node, path, cache.options);
  } else {
    node.name = parts.member;
    reader.read_cache_member(node, path, cache);
  }
  problems.throw_if_any();
  changed.applied.push_back({std::string(assignment), std::string(place)});
  *this = std::move(changed);
}

}  // namespace polycache
