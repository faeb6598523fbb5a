// JSON text as a tree with line numbers. Hides the JSON library: no other source of the core
// includes it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace polycache {

struct JsonNode {
  enum class Kind : unsigned char {
    null,
    boolean,
    integer,
    huge_integer,  // does not fit into 64 bits
    number,
    string,
    list,
    object,
  };

  Kind kind = Kind::null;
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;                    // of a number or a huge integer
  std::string text = {};                // of a string
  std::string name = {};                // of a member
  std::vector<JsonNode> children = {};  // of a list or an object
  int line = 0;                         // of the member's name, or else of the value
  int value_line = 0;
  std::size_t begin = 0;  // lists and objects: their range in the text
  std::size_t end = 0;
};

using JsonProblemHandler =
    std::function<void(int line, std::string_view member, std::string_view problem)>;

// Comments are allowed. Reports every problem and returns the tree, or nothing if the text is not
// JSON. A repeated member is a problem; the tree contains the first. Messages show no part of the
// text except names of members. Depth and number of values are limited.
std::optional<JsonNode> parse_json(std::string_view text, const JsonProblemHandler& on_problem);

}  // namespace polycache
