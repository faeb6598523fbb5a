// All problems of a configuration, collected and thrown together, so that a wrong file can be
// corrected in one go.

#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

class ConfigProblems {
 public:
  // "PLACE: MEMBER: problem". An empty place (a Config built in code) or member (the whole file) is
  // omitted. Problems with a line are thrown in the order of their lines.
  void add(std::string_view place, std::string_view member, std::string_view problem,
           int line = 0) {
    std::string text;
    if (!place.empty()) text.append(place).append(": ");
    if (!member.empty()) text.append(printable(member)).append(": ");
    text.append(problem);
    problems_.push_back({line, std::move(text)});
  }

  bool empty() const noexcept { return problems_.empty(); }

  // Adds those of another collection.
  void take(ConfigProblems&& others) {
    std::move(others.problems_.begin(), others.problems_.end(), std::back_inserter(problems_));
    others.problems_.clear();
  }

  // Throws a ConfigError if there is a problem.
  void throw_if_any() {
    if (!empty()) throw ConfigError(message());
  }

  // A single problem as it is, several as a list. REQUIRES: !empty()
  std::string message() {
    if (problems_.size() == 1) return problems_.front().text;
    std::stable_sort(problems_.begin(), problems_.end(),
                     [](const Problem& a, const Problem& b) { return a.line < b.line; });
    std::string message = std::to_string(problems_.size()) + " problems in the configuration:";
    const std::size_t shown = std::min<std::size_t>(problems_.size(), most_shown);
    for (std::size_t i = 0; i < shown; ++i) message.append("\n  ").append(problems_[i].text);
    if (shown < problems_.size()) {
      message += "\n  and " + std::to_string(problems_.size() - shown) + " more";
    }
    return message;
  }

 private:
  struct Problem {
    int line;
    std::string text;
  };

  static constexpr std::size_t most_shown = 100;

  // Names in a file can be anything; a message remains one line of reasonable length.
  static std::string printable(std::string_view member) {
    constexpr std::size_t longest = 200;
    const std::string quoted = quote(member);
    const bool plain = quoted.size() == member.size() + 2;
    const bool only_long = quoted.ends_with("...\"") && member.size() <= longest &&
                           std::none_of(member.begin(), member.end(), [](char c) {
                             const auto byte = static_cast<unsigned char>(c);
                             return byte < 0x20 || byte >= 0x7f;
                           });
    if (plain || only_long) return std::string(member);
    return quoted.substr(1, quoted.size() - 2);
  }

  std::vector<Problem> problems_;
};

}  // namespace polycache
