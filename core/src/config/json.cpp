#include "config/json.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "config/json_remedies.h"

namespace polycache {
namespace {

constexpr std::size_t max_depth = 64;
constexpr std::size_t max_values = 200'000;

int line_of(std::string_view text, std::size_t offset) {
  return 1 + static_cast<int>(std::count(
                 text.begin(),
                 text.begin() + static_cast<std::ptrdiff_t>(std::min(offset, text.size())), '\n'));
}

// The parser's position; shared with the iterator that it reads from.
struct Progress {
  std::size_t offset = 0;
  int newlines = 0;
  char last = 0;

  // The line of the last character read. No token ends in a newline, but after a number the parser
  // has read one character more.
  int line() const { return newlines + (last == '\n' ? 0 : 1); }
};

class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, Progress& progress) : at_(at), progress_(&progress) {}

  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    progress_->last = *at_;
    if (*at_ == '\n') ++progress_->newlines;
    ++progress_->offset;
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    const CountingIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) {
    return a.at_ == b.at_;
  }
  friend bool operator!=(const CountingIterator& a, const CountingIterator& b) { return !(a == b); }

 private:
  const char* at_;
  Progress* progress_;
};

// What the parser's message says it expected, in plainer words.
std::string_view expected_by(std::string_view message) {
  constexpr std::string_view mark = "; expected ";
  const std::size_t at = message.rfind(mark);
  if (at == std::string_view::npos) return "";
  const std::string_view what = message.substr(at + mark.size());
  if (what == "'}'") return "expected ',' or '}'";
  if (what == "']'") return "expected ',' or ']'";
  if (what == "':'") return "expected ':'";
  if (what == "string literal") return "expected a name in double quotes";
  if (what == "'[', '{', or a literal") return "expected a value";
  if (what == "end of input") return "expected nothing more";
  return "";
}

// The parser's message in our words, without the last text read, which may be a password. Only its
// own fixed phrases are kept.
std::string reworded(std::string_view message, bool in_list) {
  const std::size_t start = message.find("syntax error");
  if (start == std::string_view::npos) return "a number is too large";
  message.remove_prefix(start);
  const std::string_view expected = expected_by(message);
  message = message.substr(0, message.find("; last read: "));
  message = message.substr(0, message.find("; expected "));
  if (const std::size_t dash = message.find("- "); dash != std::string_view::npos) {
    message.remove_prefix(dash + 2);
  }
  constexpr std::string_view literal = " literal";
  if (message.starts_with("unexpected") && message.ends_with(literal)) {
    message.remove_suffix(literal.size());
  }
  if (message == "invalid literal") {
    return "a word other than true, false and null; write strings in double quotes";
  }
  std::string text(message);
  const bool after_comma =
      (message == "unexpected '}'" && expected.ends_with("in double quotes")) ||
      (message == "unexpected ']'" && expected == "expected a value" && in_list);
  if (after_comma) return text + "; remove the comma before it";
  if (!expected.empty()) text.append("; ").append(expected);
  return text;
}

// Whether a character or a word is wrong, as opposed to its context.
bool is_lexical(std::string_view message) {
  return message.find("; last read: ") != std::string_view::npos &&
         message.find(" - unexpected ") == std::string_view::npos;
}

// Builds the tree from the parser's events.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(std::string_view text, const Progress& progress, const JsonProblemHandler& on_problem)
      : text_(text), progress_(progress), on_problem_(on_problem) {}

  JsonNode take() { return std::move(root_); }

  bool null() override { return add({}); }
  bool boolean(bool value) override {
    return add({.kind = JsonNode::Kind::boolean, .boolean = value});
  }
  bool number_integer(number_integer_t value) override {
    return add({.kind = JsonNode::Kind::integer, .integer = value});
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!std::in_range<std::int64_t>(value)) {
      return add({.kind = JsonNode::Kind::huge_integer, .number = static_cast<double>(value)});
    }
    return add({.kind = JsonNode::Kind::integer, .integer = static_cast<std::int64_t>(value)});
  }
  bool number_float(number_float_t value, const string_t& spelled) override {
    // An integer beyond all integer types arrives here, too.
    const bool whole = spelled.find_first_of(".eE") == string_t::npos;
    return add(
        {.kind = whole ? JsonNode::Kind::huge_integer : JsonNode::Kind::number, .number = value});
  }
  bool string(string_t& value) override {
    return add({.kind = JsonNode::Kind::string, .text = std::move(value)});
  }
  bool binary(binary_t& /*value*/) override { return false; }  // does not occur in text

  bool start_object(std::size_t /*size*/) override { return open(JsonNode::Kind::object); }
  bool start_array(std::size_t /*size*/) override { return open(JsonNode::Kind::list); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Level& level = stack_.back();
    const auto [first, is_new] = level.lines.try_emplace(name, progress_.line());
    if (!is_new) {
      on_problem_(progress_.line(), path() + name,
                  "given twice; the first is in line " + std::to_string(first->second));
      level.duplicates.push_back(level.node->children.size());
    }
    name_ = std::move(name);
    name_line_ = progress_.line();
    return true;
  }

  bool parse_error(std::size_t /*position*/, const std::string& /*last_token*/,
                   const nlohmann::detail::exception& error) override {
    const bool in_list = !stack_.empty() && stack_.back().node->kind == JsonNode::Kind::list;
    std::string problem = is_lexical(error.what()) ? json_remedy(text_, stop()) : std::string();
    if (problem.empty()) problem = reworded(error.what(), in_list);
    on_problem_(progress_.line(), "", "not valid JSON: " + problem);
    return false;
  }

 private:
  struct Level {
    JsonNode* node;
    std::map<std::string, int, std::less<>> lines = {};  // of the members so far
    std::vector<std::size_t> duplicates = {};            // their indices in the node
  };

  // Where the parser stopped: at the last byte that it read, or at the end.
  std::size_t stop() const noexcept { return progress_.offset == 0 ? 0 : progress_.offset - 1; }

  JsonNode* place(JsonNode node) {
    if (stack_.empty()) return &(root_ = std::move(node));
    JsonNode& parent = *stack_.back().node;
    if (parent.kind == JsonNode::Kind::object) {
      node.name = std::move(name_);
      node.line = name_line_;
    }
    return &parent.children.emplace_back(std::move(node));
  }

  // Whether one more value is within the limit.
  bool admit() {
    if (++values_ <= max_values) return true;
    on_problem_(progress_.line(), "", "more than " + std::to_string(max_values) + " values");
    return false;
  }

  bool add(JsonNode node) {
    node.line = node.value_line = progress_.line();
    if (!admit()) return false;
    place(std::move(node));
    return true;
  }

  bool open(JsonNode::Kind kind) {
    if (stack_.size() == max_depth) {
      on_problem_(progress_.line(), "",
                  "nested deeper than " + std::to_string(max_depth) + " levels");
      return false;
    }
    if (!admit()) return false;
    const int here = progress_.line();
    stack_.push_back(
        {place({.kind = kind, .line = here, .value_line = here, .begin = progress_.offset - 1})});
    return true;
  }

  bool close() {
    const Level& level = stack_.back();
    level.node->end = progress_.offset;
    for (auto i = level.duplicates.rbegin(); i != level.duplicates.rend(); ++i) {
      level.node->children.erase(level.node->children.begin() + static_cast<std::ptrdiff_t>(*i));
    }
    stack_.pop_back();
    return true;
  }

  // "caches.default." for a member of the open object.
  std::string path() const {
    std::string text;
    for (std::size_t i = 1; i < stack_.size(); ++i) {
      const JsonNode& parent = *stack_[i - 1].node;
      if (parent.kind == JsonNode::Kind::list) {
        if (text.ends_with('.')) text.pop_back();
        text += '[' + std::to_string(parent.children.size() - 1) + "].";
      } else {
        text += stack_[i].node->name + '.';
      }
    }
    return text;
  }

  const std::string_view text_;
  const Progress& progress_;
  const JsonProblemHandler& on_problem_;
  JsonNode root_;
  std::vector<Level> stack_;
  std::string name_;
  int name_line_ = 0;
  std::size_t values_ = 0;
};

// Offset of the first byte that begins no valid UTF-8 sequence, or npos.
std::size_t find_not_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = first >= 0xC2 && first < 0xE0   ? 2
                               : first >= 0xE0 && first < 0xF0 ? 3
                               : first >= 0xF0 && first < 0xF5 ? 4
                                                               : 0;
    if (length == 0 || text.size() - i < length) return i;
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      // The second byte's range is narrower after four of the first bytes: no overlong forms, no
      // surrogates, nothing above U+10FFFF.
      const unsigned low = k == 1 && first == 0xE0   ? 0xA0U
                           : k == 1 && first == 0xF0 ? 0x90U
                                                     : 0x80U;
      const unsigned high = k == 1 && first == 0xED   ? 0x9FU
                            : k == 1 && first == 0xF4 ? 0x8FU
                                                      : 0xBFU;
      if (next < low || next > high) return i;
    }
    i += length;
  }
  return std::string_view::npos;
}

// Whether it is text at all; the parser would take a zero byte for the end.
bool check_encoding(std::string_view text, const JsonProblemHandler& on_problem) {
  if (text.starts_with("\xEF\xBB\xBF")) {
    on_problem(1, "", "begins with a byte order mark; save it as UTF-8 without one");
    return false;
  }
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    on_problem(1, "", "is UTF-16; save it as UTF-8");
    return false;
  }
  if (const std::size_t at = text.find('\0'); at != std::string_view::npos) {
    on_problem(line_of(text, at), "", "contains a zero byte; is it a text file in UTF-8?");
    return false;
  }
  if (const std::size_t at = find_not_utf8(text); at != std::string_view::npos) {
    on_problem(line_of(text, at), "", "not UTF-8; save it as UTF-8");
    return false;
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    on_problem(1, "",
               "is empty; the minimum is {\"caches\": {\"default\": {\"backend\": \"locmem\"}}}");
    return false;
  }
  return true;
}

}  // namespace

std::optional<JsonNode> parse_json(std::string_view text, const JsonProblemHandler& on_problem) {
  if (!check_encoding(text, on_problem)) return std::nullopt;
  Progress progress;
  TreeBuilder builder(text, progress, on_problem);
  const bool whole = nlohmann::json::sax_parse(
      CountingIterator(text.data(), progress),
      CountingIterator(text.data() + text.size(), progress), &builder,
      nlohmann::json::input_format_t::json, /*strict=*/true, /*ignore_comments=*/true);
  if (!whole) return std::nullopt;
  return builder.take();
}

}  // namespace polycache
