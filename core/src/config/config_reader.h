// From a JSON tree to a Config.

#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/json.h"
#include "config/problems.h"
#include "polycache/config.h"

namespace polycache {

// What the core reads itself. Everything else is a section.
inline constexpr std::array<std::string_view, 4> top_members{"$schema", "plugin_path",
                                                             "allow_writable_plugins", "caches"};

// Why this cannot be the name of an alias; empty if it can.
std::string problem_of_alias(std::string_view alias);

// Copies a JSON tree into a Config, and records every problem. Messages show values only where
// there can be no password: in members whose values are our own words or numbers, and never if they
// came from a ${...}.
class ConfigReader {
 public:
  // `source` and the line form a place; an assignment has only `source`.
  enum class Lines : unsigned char { shown, none };

  ConfigReader(Config& config, ConfigProblems& problems, std::string source, Lines lines)
      : config_(config), problems_(problems), source_(std::move(source)), lines_(lines) {}

  void read_document(const JsonNode& root, std::string_view text);
  void read_cache_member(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void read_option(const JsonNode& node, const std::string& path, OptionMap& options);
  // The same without the rules of options.
  void read_value(const JsonNode& node, const std::string& path, OptionMap& values);

  // Remembers the place of a member.
  void note(const JsonNode& node, const std::string& path) {
    config_.places.insert_or_assign(path, place(node.line));
  }
  void reject(int line, std::string_view member, std::string_view problem) {
    problems_.add(place(line), member, problem, line);
  }

 private:
  using ReadMember = void (ConfigReader::*)(const JsonNode& node, const std::string& path,
                                            CacheConfig& cache);
  struct CacheMember {
    std::string_view name;
    ReadMember read;
  };
  static const std::array<CacheMember, 14> cache_members;

  void read_caches(const JsonNode& node);
  void read_cache(const JsonNode& node);
  void read_section(const JsonNode& node, std::string_view text);
  void reject_cache_member(const JsonNode& node, const std::string& path);

  void backend(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void location(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void timeout(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void key_prefix(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void version(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void key_function(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void key_warnings(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void on_error(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void clear(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void load(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void tag_version_cache(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void layers(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void transform(const JsonNode& node, const std::string& path, CacheConfig& cache);
  void options(const JsonNode& node, const std::string& path, CacheConfig& cache);

  // `word`: "layer" or "transform".
  std::vector<LayerConfig> layer_list(const JsonNode& node, const std::string& path,
                                      std::string_view word);
  std::optional<LayerConfig> layer(const JsonNode& node, const std::string& path,
                                   std::string_view word);
  void read_options(const JsonNode& node, const std::string& path, OptionMap& options);
  std::optional<Timeout> timeout_value(const JsonNode& node, const std::string& path);
  std::optional<ErrorPolicy> error_policy(const JsonNode& node, const std::string& path);

  // Members of "load". A share only where `may_be_share`.
  // `if_true`: what `true` stands for; it is refused if that is empty.
  std::optional<Age> age(const JsonNode& node, const std::string& path, bool may_be_share,
                         std::optional<std::chrono::seconds> if_true = std::nullopt);
  std::optional<double> number(const JsonNode& node, const std::string& path);

  // A string after substitution; nothing if it is no string or has a problem.
  std::optional<std::string> string(const JsonNode& node, const std::string& path);
  // The same for one string or a list of strings.
  std::optional<std::vector<std::string>> strings(const JsonNode& node, const std::string& path);
  std::optional<std::vector<std::string>> items(const JsonNode& node, const std::string& path);

  std::string place(int line) const {
    return lines_ == Lines::shown ? source_ + ':' + std::to_string(line) : source_;
  }
  void expected(const JsonNode& node, const std::string& path, std::string_view what);
  // The same, and shows the value if it cannot be secret.
  void expected_word(const JsonNode& node, const std::string& path, std::string_view what);

  Config& config_;
  ConfigProblems& problems_;
  std::string source_;
  Lines lines_;
};

}  // namespace polycache
