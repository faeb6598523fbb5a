#include "config/sections.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <utility>

#include "base/cold_mutex.h"
#include "base/no_destructor.h"
#include "config/config_reader.h"
#include "config/hidden.h"
#include "config/json.h"
#include "polycache/author/text.h"
#include "polycache/config.h"
#include "polycache/error.h"

namespace polycache {
namespace {

using Kind = JsonNode::Kind;

// Shared, so that no code of the program runs when they are copied under the lock.
using SharedChecks = std::map<std::string, std::shared_ptr<const SectionCheck>, std::less<>>;

// Guarded by cold_mutex().
SharedChecks& registered() {
  static NoDestructor<SharedChecks> checks;
  return *checks;
}

SharedChecks all_registered() {
  const std::lock_guard lock(cold_mutex());
  return registered();
}

bool is_list_of_objects(const JsonNode& node) {
  return node.kind == Kind::list && !node.children.empty() &&
         std::any_of(node.children.begin(), node.children.end(),
                     [](const JsonNode& item) { return item.kind == Kind::object; });
}

void shift_lines(JsonNode& node, int by) {
  node.line += by;
  node.value_line += by;
  for (JsonNode& child : node.children) shift_lines(child, by);
}

}  // namespace

// An object of a section, or a list of objects.
struct SectionReader::Node {
  Node(std::string its_name, std::string its_path, bool is_list,
       OptionReader::ProblemHandler on_problem)
      : name(std::move(its_name)),
        path(std::move(its_path)),
        list(is_list),
        reader(path, no_location, values, std::move(on_problem), ".") {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node() = default;

  Node* find(std::string_view child) const noexcept {
    const auto found = std::find_if(children.begin(), children.end(),
                                    [&](const auto& node) { return node->name == child; });
    return found == children.end() ? nullptr : found->get();
  }

  const std::string name;
  const std::string path;
  const bool list;
  bool exists = true;
  std::vector<std::string> no_location;
  OptionMap values;
  std::vector<std::unique_ptr<Node>> children;  // objects, and lists of them, in the file's order
  std::set<std::string, std::less<>> unknown;   // asked for as an object, and absent
  OptionReader reader;                          // of `values`
  bool read = false;
  bool rejected = false;  // as a whole: what is in it is not reported
};

struct SectionReader::Tree {
  Tree(const Config& config, std::string_view name) {
    scratch.folder = config.folder;
    const auto found = config.sections.find(name);
    const auto report = handler();
    if (found == config.sections.end()) {
      root = std::make_unique<Node>(std::string(name), std::string(name), false, report);
      root->exists = false;
    } else {
      read(std::string(name), found->second);
    }
    root->read = true;
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree() = default;

  OptionReader::ProblemHandler handler() {
    return [this](std::string_view member, std::string_view problem) { add(member, problem); };
  }

  void add(std::string_view member, std::string_view problem) {
    std::string_view known = member;
    for (;;) {
      const auto place = scratch.places.find(known);
      const auto line = lines.find(known);
      if (place != scratch.places.end() && line != lines.end()) {
        problems.add(place->second, member, problem, line->second);
        return;
      }
      const std::size_t dot = known.find_last_of(".[");
      if (dot == std::string_view::npos) break;
      known = known.substr(0, dot);
    }
    problems.add("", member, problem);
  }

  void read(const std::string& name, const ConfigSection& section) {
    const auto shown =
        section.source.empty() ? ConfigReader::Lines::none : ConfigReader::Lines::shown;
    ConfigReader reader(scratch, problems, section.source, shown);
    std::optional<JsonNode> json =
        parse_json(section.json, [&](int line, std::string_view member, std::string_view problem) {
          reader.reject(line + section.line - 1, member, problem);
        });
    if (!json) json.emplace();  // its problems are recorded
    shift_lines(*json, section.line - 1);
    json->line = json->value_line;
    root = make(*json, name, name, reader);
    if (json->kind != Kind::object && json->kind != Kind::list) {
      if (problems.empty()) add(name, "expected an object or a list");
    } else if (json->kind == Kind::list && !json->children.empty() && !is_list_of_objects(*json)) {
      add(name, "expected a list of objects");
    }
  }

  void note(const JsonNode& json, const std::string& path, ConfigReader& reader) {
    reader.note(json, path);
    lines.insert_or_assign(path, json.line);
  }

  std::unique_ptr<Node> make(const JsonNode& json, std::string name, const std::string& path,
                             ConfigReader& reader) {
    auto node = std::make_unique<Node>(std::move(name), path, json.kind == Kind::list, handler());
    note(json, path, reader);
    if (node->list) {
      for (std::size_t i = 0; i < json.children.size(); ++i) {
        std::string index = '[' + std::to_string(i) + ']';
        const std::string item = path + index;
        note(json.children[i], item, reader);
        if (json.children[i].kind != Kind::object) {
          if (is_list_of_objects(json)) add(item, "expected an object");
          continue;
        }
        node->children.push_back(make(json.children[i], std::move(index), item, reader));
      }
      return node;
    }
    for (const JsonNode& member : json.children) {
      const std::string its_path = path + '.' + member.name;
      note(member, its_path, reader);
      if (member.kind == Kind::null) continue;  // as if it were absent
      if (member.kind == Kind::object || is_list_of_objects(member)) {
        node->children.push_back(make(member, member.name, its_path, reader));
      } else {
        reader.read_value(member, its_path, node->values);
      }
    }
    node->reader.hide(hidden_under(scratch.hidden, path + '.'));
    return node;
  }

  void reject_unread(const Node& node) {
    if (!node.list) node.reader.reject_unread();
    for (const auto& child : node.children) {
      if (child->rejected) continue;
      if (child->read) {
        reject_unread(*child);
        continue;
      }
      std::vector<std::string_view> known(node.unknown.begin(), node.unknown.end());
      for (const auto& other : node.children) {
        if (other->read) known.push_back(other->name);
      }
      const auto near = nearest(child->name, known);
      add(child->path, near ? "unknown member; did you mean " + quote(*near) + "?"
                            : std::string("unknown member"));
    }
  }

  Config scratch;  // places, and what to hide
  std::map<std::string, int, std::less<>> lines;
  ConfigProblems problems;
  std::unique_ptr<Node> root;
  std::vector<std::unique_ptr<Node>> absent;  // asked for, and not there
};

SectionReader::SectionReader(const Config& config, std::string_view name)
    : tree_(std::make_shared<Tree>(config, name)), node_(tree_->root.get()) {}

SectionReader::SectionReader(std::shared_ptr<Tree> tree, Node* node) noexcept
    : tree_(std::move(tree)), node_(node) {
  node_->read = true;
}

bool SectionReader::exists() const noexcept { return node_->exists; }

const std::string& SectionReader::name() const noexcept { return node_->name; }

std::string SectionReader::member(std::string_view name) const {
  return name.empty() ? node_->path : node_->path + '.' + std::string(name);
}

bool SectionReader::has(std::string_view name) const noexcept {
  return node_->values.find(name) != node_->values.end() || node_->find(name) != nullptr;
}

// Reports a member that should be a value and is an object.
bool SectionReader::is_value(std::string_view name) const {
  Node* const child = node_->find(name);
  if (child == nullptr) return true;
  if (!child->rejected) {
    reject(name, child->list ? "expected a value, got a list of objects"
                             : "expected a value, got an object");
  }
  return false;
}

bool SectionReader::boolean(std::string_view name, bool fallback) const {
  return is_value(name) ? node_->reader.boolean(name, fallback) : fallback;
}

std::int64_t SectionReader::integer(std::string_view name, std::int64_t fallback, std::int64_t min,
                                    std::int64_t max) const {
  return is_value(name) ? node_->reader.integer(name, fallback, min, max) : fallback;
}

double SectionReader::number(std::string_view name, double fallback) const {
  return is_value(name) ? node_->reader.number(name, fallback) : fallback;
}

std::string SectionReader::string(std::string_view name, std::string_view fallback) const {
  return is_value(name) ? node_->reader.string(name, fallback) : std::string(fallback);
}

std::vector<std::string> SectionReader::strings(std::string_view name) const {
  return is_value(name) ? node_->reader.strings(name) : std::vector<std::string>();
}

std::chrono::milliseconds SectionReader::duration(std::string_view name,
                                                  std::chrono::milliseconds fallback,
                                                  std::chrono::milliseconds min) const {
  return is_value(name) ? node_->reader.duration(name, fallback, min) : fallback;
}

std::int64_t SectionReader::bytes(std::string_view name, std::int64_t fallback,
                                  std::int64_t min) const {
  return is_value(name) ? node_->reader.bytes(name, fallback, min) : fallback;
}

std::string SectionReader::choice(std::string_view name,
                                  std::initializer_list<std::string_view> words,
                                  std::string_view fallback) const {
  return is_value(name) ? node_->reader.choice(name, words, fallback) : std::string(fallback);
}

SectionReader SectionReader::object(std::string_view name) const {
  Node* child = node_->find(name);
  if (child != nullptr && !child->list) return {tree_, child};
  if (child != nullptr) {
    if (!child->rejected) reject(name, "expected an object, got a list");
  } else if (node_->values.find(name) != node_->values.end()) {
    reject(name, "expected an object");
  }
  node_->unknown.emplace(name);
  auto absent = std::make_unique<Node>(std::string(name), member(name), false, tree_->handler());
  absent->exists = false;
  absent->read = true;
  tree_->absent.push_back(std::move(absent));
  return {tree_, tree_->absent.back().get()};
}

std::vector<SectionReader> SectionReader::objects() const {
  std::vector<SectionReader> objects;
  for (const auto& child : node_->children) {
    if (!child->list) objects.push_back({tree_, child.get()});
  }
  return objects;
}

std::vector<SectionReader> SectionReader::objects(std::string_view name) const {
  Node* const child = node_->find(name);
  if (child == nullptr) {
    // An empty list is a value, of no strings.
    if (!node_->reader.strings(name).empty()) reject(name, "expected a list of objects");
    return {};
  }
  if (!child->list) {
    if (!child->rejected) reject(name, "expected a list of objects, got an object");
    return {};
  }
  return SectionReader(tree_, child).objects();
}

void SectionReader::reject(std::string_view name, std::string_view problem) const {
  if (name.empty()) return tree_->add(node_->path, problem);
  if (Node* const child = node_->find(name)) {
    child->read = true;
    child->rejected = true;
  }
  node_->reader.reject(name, problem);
}

void SectionReader::finish() {
  tree_->reject_unread(*tree_->root);
  tree_->problems.throw_if_any();
}

// Runs a check and takes what it found.
class SectionCheckRun {
 public:
  static ConfigProblems problems_of(const Config& config, std::string_view name,
                                    const SectionCheck& check) {
    SectionReader section(config, name);
    if (!check) return {};
    try {
      check(section);
      section.tree_->reject_unread(*section.tree_->root);
    } catch (const ConfigError& error) {
      // finish() throws what is recorded already.
      if (section.tree_->problems.empty()) section.reject("", error.what());
    }
    return std::move(section.tree_->problems);
  }
};

void register_section(std::string name, SectionCheck check) {
  if (name.empty()) throw ConfigError("register_section: a name is needed");
  auto shared = std::make_shared<const SectionCheck>(std::move(check));
  const bool ours = std::find(top_members.begin(), top_members.end(), name) != top_members.end();
  const std::lock_guard lock(cold_mutex());
  if (ours || registered().contains(name)) {
    throw ConfigError("register_section: the name " + quote(name) +
                      " is taken; choose another one");
  }
  registered().emplace(std::move(name), std::move(shared));
}

ConfigProblems check_sections(const Config& config, const SectionChecks& claimed,
                              bool allow_unclaimed) {
  ConfigProblems problems;
  SharedChecks all = all_registered();
  for (const auto& [name, check] : claimed) {
    all.insert_or_assign(name, std::make_shared<const SectionCheck>(check));
  }
  // Sections that are missing, too: one of their members may be required.
  for (const auto& [name, check] : all) {
    problems.take(SectionCheckRun::problems_of(config, name, *check));
  }
  std::vector<std::string_view> known(top_members.begin(), top_members.end());
  for (const auto& [name, check] : all) known.push_back(name);
  for (const auto& [name, section] : config.sections) {
    if (allow_unclaimed || all.contains(name)) continue;
    std::string problem;
    if (SectionReader(config, name).has("backend")) {
      problem = "unknown member; a cache belongs in \"caches\"";
    } else if (const auto near = nearest(name, known)) {
      problem = "unknown member; did you mean " + quote(*near) + "?";
    } else {
      problem = "unknown member; known members: ";
      for (const std::string_view other : known) {
        problem.append(other == known.front() ? "" : ", ").append(quote(other));
      }
      problem +=
          "; a section that this program reads is claimed by register_section() or "
          "Environment::sections";
    }
    const auto place = config.places.find(name);
    problems.add(place == config.places.end() ? "" : place->second, name, problem, section.line);
  }
  return problems;
}

}  // namespace polycache
