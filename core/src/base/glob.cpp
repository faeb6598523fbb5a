#include "polycache/author/glob.h"

#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

constexpr unsigned char value_of(char c) noexcept { return static_cast<unsigned char>(c); }

}  // namespace

// Reads a pattern from left to right into a Glob.
class Glob::Reader {
 public:
  Reader(std::string_view pattern, Glob& glob) noexcept : pattern_(pattern), glob_(glob) {}

  void read() {
    while (at_ < pattern_.size()) read_one();
  }

 private:
  void read_one() {
    switch (pattern_[at_]) {
      case '*':
        ++at_;
        if (tokens().empty() || tokens().back().kind != Kind::star) add({Kind::star});
        return;
      case '?':
        ++at_;
        return add({Kind::any});
      case '[':
        return read_set();
      default:
        return add({Kind::byte, value_of(read_byte())});
    }
  }

  // A byte that stands for itself, or follows a backslash.
  char read_byte() {
    if (pattern_[at_] == '\\' && ++at_ == pattern_.size()) {
      fail("ends with a backslash, which has to escape a character; write \\\\ for the backslash");
    }
    return pattern_[at_++];
  }

  void read_set() {
    const std::size_t begin = at_++;
    const bool negated = at_ < pattern_.size() && pattern_[at_] == '^';
    if (negated) ++at_;
    Set set;
    for (;;) {
      if (at_ == pattern_.size()) fail_open(begin);
      if (pattern_[at_] == ']') break;
      read_range(begin, set);
    }
    ++at_;
    if (set.none()) {
      fail("has brackets without a character at byte " + std::to_string(begin) +
           "; name characters in them, or write \\[ for the character");
    }
    glob_.sets_.push_back(negated ? ~set : set);
    add({Kind::set, 0, glob_.sets_.size() - 1});
  }

  // "a", "a-z"; a '-' before the closing bracket is a byte of its own.
  void read_range(std::size_t begin, Set& set) {
    const unsigned char first = value_of(read_byte_of_set(begin));
    unsigned char last = first;
    if (pattern_.size() - at_ >= 2 && pattern_[at_] == '-' && pattern_[at_ + 1] != ']') {
      ++at_;
      last = value_of(read_byte_of_set(begin));
    }
    if (last < first) {
      fail("has a range in the brackets at byte " + std::to_string(begin) +
           " whose end comes before its beginning; exchange the two");
    }
    for (unsigned byte = first; byte <= last; ++byte) set.set(byte);
  }

  char read_byte_of_set(std::size_t begin) {
    if (pattern_.substr(at_) == "\\") fail_open(begin);
    return read_byte();
  }

  // A literal beginning is kept as text, since it is compared faster.
  void add(const Token& token) {
    if (tokens().empty() && token.kind == Kind::byte) {
      glob_.head_ += static_cast<char>(token.byte);
    } else {
      tokens().push_back(token);
    }
  }

  [[noreturn]] void fail_open(std::size_t begin) const {
    fail("has a bracket at byte " + std::to_string(begin) +
         " that is not closed; close it, or write \\[ for the character");
  }
  [[noreturn]] void fail(const std::string& problem) const {
    throw ValueError("the pattern " + quote(pattern_) + " " + problem);
  }

  std::vector<Token>& tokens() const noexcept { return glob_.tokens_; }

  const std::string_view pattern_;
  Glob& glob_;
  std::size_t at_ = 0;
};

Glob::Glob(std::string_view pattern) { Reader(pattern, *this).read(); }

inline bool Glob::fits(const Token& token, char c) const noexcept {
  switch (token.kind) {
    case Kind::byte:
      return token.byte == value_of(c);
    case Kind::any:
      return true;
    case Kind::set:
      return sets_[token.set][value_of(c)];
    default:
      return false;
  }
}

// What a star has matched grows only at the latest star: where the pattern matches at all, it does
// so with every earlier star at its shortest.
bool Glob::matches(std::string_view text) const noexcept {
  if (!text.starts_with(head_)) return false;
  constexpr auto none = static_cast<std::size_t>(-1);
  std::size_t star = none;   // the latest star
  std::size_t after = none;  // where the text goes on after what the star has matched
  std::size_t token = 0;
  for (std::size_t at = head_.size(); at < text.size();) {
    if (token < tokens_.size() && tokens_[token].kind == Kind::star) {
      if (token + 1 == tokens_.size()) return true;
      star = token++;
      after = at;
    } else if (token < tokens_.size() && fits(tokens_[token], text[at])) {
      ++token;
      ++at;
    } else if (star != none) {
      token = star + 1;
      at = ++after;
    } else {
      return false;
    }
  }
  while (token < tokens_.size() && tokens_[token].kind == Kind::star) ++token;
  return token == tokens_.size();
}

std::string Glob::escape(std::string_view text) {
  std::string pattern;
  pattern.reserve(text.size());
  for (const char c : text) {
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace polycache
