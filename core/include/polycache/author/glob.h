// Glob patterns over keys, as the extension scan/1 and Cache::scan() take them. Every store uses
// this class, so that a pattern means the same everywhere.
//
//   *        any bytes, also none and also ':'
//   ?        one byte; a character outside ASCII is several
//   [a-z_]   one byte of these; a '-' at the beginning or the end stands for itself
//   [^a-z]   one byte, but none of these
//   \x       the byte x itself, whatever it is; in brackets, too
//
// All other bytes stand for themselves. Bytes are compared by their values: case matters, and no
// locale does.

#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/detail/export.h"

namespace polycache {

// A pattern that has been read once. Immutable, so that threads may share it.
class POLYCACHE_API Glob {
 public:
  // Throws ValueError, which names the place and the remedy: a bracket that is not closed, brackets
  // without a byte, a range whose end comes before its beginning, a backslash at the end.
  explicit Glob(std::string_view pattern);

  // Whether the pattern matches the whole text. Takes at most as many steps as the product of their
  // lengths; a pattern with one '*' takes as many as the text has bytes.
  bool matches(std::string_view text) const noexcept;

  // The bytes with which every text begins that the pattern matches; they may be none.
  const std::string& head() const noexcept { return head_; }

  // A pattern that matches this text only.
  static std::string escape(std::string_view text);

 private:
  enum class Kind : std::uint8_t { byte, any, set, star };
  struct Token {
    Kind kind;
    unsigned char byte = 0;  // of kind byte
    std::size_t set = 0;     // of kind set: its index
  };
  using Set = std::bitset<256>;
  class Reader;

  bool fits(const Token& token, char c) const noexcept;

  std::string head_;
  std::vector<Token> tokens_;  // what follows head_
  std::vector<Set> sets_;
};

}  // namespace polycache
