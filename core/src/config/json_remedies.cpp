#include "config/json_remedies.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <span>

namespace polycache {
namespace {

struct Remedy {
  std::string_view found;
  std::string_view remedy;
};

constexpr std::string_view write_truth = "write true or false";
constexpr std::string_view write_null = "write null";
constexpr std::string_view write_number = "write a finite number";

constexpr std::array<Remedy, 20> word_remedies{{
    {"True", write_truth},  {"False", write_truth},     {"TRUE", write_truth},
    {"FALSE", write_truth}, {"yes", write_truth},       {"no", write_truth},
    {"on", write_truth},    {"off", write_truth},       {"Yes", write_truth},
    {"No", write_truth},    {"None", write_null},       {"NULL", write_null},
    {"Null", write_null},   {"nil", write_null},        {"undefined", write_null},
    {"NaN", write_number},  {"Infinity", write_number}, {"nan", write_number},
    {"inf", write_number},  {"Inf", write_number},
}};

constexpr std::array<Remedy, 5> character_remedies{{
    {"#", "'#' does not begin a comment; write // or /* */"},
    {"'", "write strings in double quotes (\"), not in single quotes (')"},
    {"`", "write strings in double quotes (\"), not in backquotes (`)"},
    {"=", "a name and its value are separated by ':', not by '='"},
    {";", "members and items are separated by ',', not by ';'"},
}};

bool is_one_of(std::span<const std::uint32_t> characters, std::uint32_t character) {
  return std::find(characters.begin(), characters.end(), character) != characters.end();
}

// Quotes of all languages, low, high and pointed, and the full-width one.
bool is_typographic_quote(std::uint32_t character) {
  constexpr std::array<std::uint32_t, 16> quotes{0x00AB, 0x00B4, 0x00BB, 0x2018, 0x2019, 0x201A,
                                                 0x201B, 0x201C, 0x201D, 0x201E, 0x201F, 0x2032,
                                                 0x2033, 0x2039, 0x203A, 0xFF02};
  return is_one_of(quotes, character);
}

bool is_special_blank(std::uint32_t character) {
  constexpr std::array<std::uint32_t, 5> blanks{0x00A0, 0x1680, 0x202F, 0x205F, 0x3000};
  return (character >= 0x2000 && character <= 0x200A) || is_one_of(blanks, character);
}

bool is_invisible(std::uint32_t character) {
  constexpr std::array<std::uint32_t, 5> marks{0x00AD, 0x2028, 0x2029, 0x2060, 0xFEFF};
  return (character >= 0x200B && character <= 0x200F) || is_one_of(marks, character);
}

bool is_dash(std::uint32_t character) {
  return (character >= 0x2010 && character <= 0x2015) || character == 0x2212;
}

struct Character {
  std::uint32_t code = 0;
  std::string_view bytes = {};
};

Character character_at(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  const std::size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  const std::string_view bytes = text.substr(at, length);
  std::uint32_t code = length == 1 ? first : first & (0xFFU >> (length + 1));
  for (const char c : bytes.substr(1)) code = code << 6U | (static_cast<unsigned char>(c) & 0x3FU);
  return {code, bytes};
}

std::string code_of(const Character& character) {
  char text[16];
  std::snprintf(text, sizeof text, "U+%04X", static_cast<unsigned>(character.code));
  return text;
}

std::string quote_remedy(const Character& character) {
  return "the typographic quote " + std::string(character.bytes) + " (" + code_of(character) +
         ") is not a quote in JSON; write \"";
}

// The remedy for a single character; empty if it is an ordinary one.
std::string character_remedy(const Character& character) {
  if (is_typographic_quote(character.code)) return quote_remedy(character);
  const std::string name = code_of(character);
  if (is_special_blank(character.code)) {
    return "the space " + name + (character.code == 0xA0 ? " (no-break space)" : "") +
           " is not allowed in JSON; write a plain one";
  }
  if (is_invisible(character.code)) {
    return "the invisible character " + name +
           (character.code == 0xFEFF ? " (byte order mark)" : "") +
           " is not allowed in JSON; remove it";
  }
  if (is_dash(character.code)) {
    return "the dash " + name + " is not a minus sign in JSON; write -";
  }
  if (character.code == '\t') return "a tab is not allowed in a string; write \\t";
  if (character.code < 0x20) {
    return "the control character " + name + " is not allowed in JSON; remove it";
  }
  return "";
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The word that contains the byte `at`: the parser may stop in its middle.
std::string_view word_at(std::string_view text, std::size_t at) {
  std::size_t begin = at;
  while (begin > 0 && is_letter(text[begin - 1])) --begin;
  std::size_t end = at;
  while (end < text.size() && is_letter(text[end])) ++end;
  return text.substr(begin, end - begin);
}

// A quote in this line that may have been meant to end a string.
std::string quote_in_line(std::string_view text, std::size_t at) {
  const std::size_t before = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
  for (std::size_t i = before == std::string_view::npos ? 0 : before + 1; i < at;) {
    const Character character = character_at(text, i);
    if (is_typographic_quote(character.code) && character.code != 0x2019) {
      return quote_remedy(character);
    }
    i += character.bytes.size();
  }
  return "";
}

}  // namespace

std::string json_remedy(std::string_view text, std::size_t at) {
  if (at >= text.size()) return quote_in_line(text, text.size());
  const Character here = character_at(text, at);
  if (here.code != '\n') {
    if (std::string remedy = character_remedy(here); !remedy.empty()) return remedy;
  }
  for (const Remedy& known : character_remedies) {
    if (known.found == here.bytes) return std::string(known.remedy);
  }
  const std::string_view word = word_at(text, at);
  for (const Remedy& known : word_remedies) {
    if (known.found == word) {
      return "the word " + std::string(known.found) + " is not allowed in JSON; " +
             std::string(known.remedy);
    }
  }
  if (std::string remedy = quote_in_line(text, at); !remedy.empty()) return remedy;
  if (here.code == '\n') return "a string does not end on its line; write its closing \"";
  return "";
}

}  // namespace polycache
