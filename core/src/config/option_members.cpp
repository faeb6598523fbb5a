// The members "options", "layers" and "transform" of an alias: options, and lists of what has
// options of its own.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config_reader.h"

namespace polycache {
namespace {

using Kind = JsonNode::Kind;

// Why this cannot be an option; empty if it can.
std::string_view option_problem(const JsonNode& node) {
  if (node.name.empty()) return "an option needs a name";
  if (node.name == "MAX_ENTRIES") return R"(this is Django's name; write "max_entries")";
  if (node.name == "CULL_FREQUENCY") return R"(this is Django's name; write "cull_frequency")";
  if (node.kind == Kind::huge_integer) return "the integer does not fit into 64 bits";
  if (node.kind == Kind::null) return "an option cannot be null; remove it";
  if (node.kind == Kind::object) {
    return "an option is a bool, a number, a string or a list of strings; objects cannot be "
           "nested in options";
  }
  return "";
}

}  // namespace

void ConfigReader::layers(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (node.kind != Kind::list) {
    return expected(node, path, R"(a list such as ["metrics"], outermost first)");
  }
  cache.layers = layer_list(node, path, "layer");
}

void ConfigReader::transform(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  if (node.kind != Kind::list) {
    return expected(node, path, R"(a list such as ["zstd", "aead"], in the order of a write)");
  }
  cache.transform = layer_list(node, path, "transform");
}

std::vector<LayerConfig> ConfigReader::layer_list(const JsonNode& node, const std::string& path,
                                                  std::string_view word) {
  std::vector<LayerConfig> list;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const std::string item_path = path + '[' + std::to_string(i) + ']';
    note(node.children[i], item_path);
    if (auto one = layer(node.children[i], item_path, word)) list.push_back(std::move(*one));
  }
  return list;
}

std::optional<LayerConfig> ConfigReader::layer(const JsonNode& node, const std::string& path,
                                               std::string_view word) {
  LayerConfig result;
  const std::string a_name = "a " + std::string(word) + "'s name";
  const auto take_name = [&](const JsonNode& name, const std::string& name_path) {
    if (name.kind != Kind::string) return expected(name, name_path, a_name);
    auto value = string(name, name_path);
    if (!value) return;
    if (value->empty()) return reject(name.line, name_path, "must not be empty");
    result.name = std::move(*value);
  };
  if (node.kind == Kind::string) {
    take_name(node, path);
  } else if (node.kind != Kind::object) {
    expected(node, path, a_name + R"(, or {"name": "...", "options": {...}})");
  } else {
    bool named = false;
    for (const JsonNode& member : node.children) {
      const std::string member_path = path + '.' + member.name;
      note(member, member_path);
      if (member.name == "name") {
        named = true;
        take_name(member, member_path);
      } else if (member.name == "options") {
        read_options(member, member_path, result.options);
      } else {
        reject(member.line, member_path, R"(unknown member; known members: "name", "options")");
      }
    }
    if (!named)
      reject(node.line, path + ".name", "is missing; a " + std::string(word) + " needs one");
  }
  if (result.name.empty()) return std::nullopt;
  return result;
}

void ConfigReader::options(const JsonNode& node, const std::string& path, CacheConfig& cache) {
  cache.options.clear();
  read_options(node, path, cache.options);
}

void ConfigReader::read_options(const JsonNode& node, const std::string& path, OptionMap& options) {
  if (node.kind != Kind::object) {
    return expected(node, path, R"(an object such as {"max_entries": 1000})");
  }
  for (const JsonNode& option : node.children) {
    const std::string option_path = path + '.' + option.name;
    note(option, option_path);
    read_option(option, option_path, options);
  }
}

void ConfigReader::read_option(const JsonNode& node, const std::string& path, OptionMap& options) {
  if (const auto problem = option_problem(node); !problem.empty()) {
    return reject(node.line, path, problem);
  }
  read_value(node, path, options);
}

void ConfigReader::read_value(const JsonNode& node, const std::string& path, OptionMap& values) {
  if (node.kind == Kind::huge_integer) {
    return reject(node.line, path, "the integer does not fit into 64 bits");
  }
  std::optional<OptionValue> value;
  if (node.kind == Kind::boolean) {
    value = node.boolean;
  } else if (node.kind == Kind::integer) {
    value = node.integer;
  } else if (node.kind == Kind::number) {
    value = node.number;
  } else if (node.kind == Kind::string) {
    if (auto text = string(node, path)) value = std::move(*text);
  } else if (node.kind == Kind::list) {
    if (auto list = items(node, path)) value = std::move(*list);
  }
  if (value) values.insert_or_assign(node.name, std::move(*value));
}

}  // namespace polycache
