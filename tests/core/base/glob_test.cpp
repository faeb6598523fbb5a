// Patterns over keys: what matches, what is refused, and that no pattern takes long.

#include "polycache/author/glob.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

#include "polycache/error.h"

namespace polycache {
namespace {

using ::testing::HasSubstr;

bool matches(std::string_view pattern, std::string_view text) {
  return Glob(pattern).matches(text);
}

std::string problem_of(std::string_view pattern) {
  try {
    Glob{pattern};
  } catch (const ValueError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Glob, StarMatchesAnyBytes) {
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("*", "a:b\n"));
  EXPECT_TRUE(matches("a*", "a"));
  EXPECT_TRUE(matches("a*b", "ab"));
  EXPECT_TRUE(matches("a*b", "a:b:b"));
  EXPECT_FALSE(matches("a*b", "a:b:c"));
  EXPECT_TRUE(matches("*a*b*c*", "xxabxbcx"));
  EXPECT_FALSE(matches("*a*b*c*", "xxacxbx"));
  EXPECT_TRUE(matches("a**b", "ab"));
  EXPECT_TRUE(matches("*.*", "a.b.c"));
  EXPECT_FALSE(matches("", "a"));
  EXPECT_TRUE(matches("", ""));
}

TEST(Glob, QuestionMarkMatchesOneByte) {
  EXPECT_TRUE(matches("?", "a"));
  EXPECT_TRUE(matches("a?c",
                      "a\xFF"
                      "c"));
  EXPECT_FALSE(matches("?", ""));
  EXPECT_FALSE(matches("?", "ab"));
  EXPECT_FALSE(matches("?", "\xC3\xA4"));
  EXPECT_TRUE(matches("??", "\xC3\xA4"));
  EXPECT_TRUE(matches("*?", "a"));
  EXPECT_FALSE(matches("*?", ""));
  EXPECT_FALSE(matches("a?", "a"));
}

TEST(Glob, BracketsMatchOneOfTheirBytes) {
  EXPECT_TRUE(matches("[abc]", "b"));
  EXPECT_FALSE(matches("[abc]", "d"));
  EXPECT_FALSE(matches("[abc]", ""));
  EXPECT_TRUE(matches("[a-c]x", "bx"));
  EXPECT_FALSE(matches("[a-c]", "B"));
  EXPECT_TRUE(matches("[a-cx-z]", "y"));
  EXPECT_FALSE(matches("[a-cx-z]", "d"));
  EXPECT_TRUE(matches("[-a]", "-"));
  EXPECT_TRUE(matches("[a-]", "-"));
  EXPECT_FALSE(matches("[a-]", "b"));
  EXPECT_TRUE(matches("[\\]]", "]"));
  EXPECT_TRUE(matches("[a\\-c]", "-"));
  EXPECT_FALSE(matches("[a\\-c]", "b"));
  EXPECT_TRUE(matches("[\\^]", "^"));
  EXPECT_TRUE(matches("[*?[]", "["));
  EXPECT_TRUE(matches("[!a]", "!")) << "only ^ negates";
}

TEST(Glob, ACaretNegatesBrackets) {
  EXPECT_TRUE(matches("[^a-c]", "d"));
  EXPECT_FALSE(matches("[^a-c]", "b"));
  EXPECT_FALSE(matches("[^a]", "")) << "it is still one byte";
  EXPECT_TRUE(matches("[^^]", "a"));
  EXPECT_FALSE(matches("[^^]", "^"));
  EXPECT_TRUE(matches("[a^]", "^"));
}

TEST(Glob, RangesAreOfUnsignedBytes) {
  EXPECT_TRUE(matches("[a-\xFF]", "\xE0"));
  EXPECT_TRUE(matches("[\x80-\xFF]", "\x80"));
  EXPECT_FALSE(matches("[\x80-\xFF]", "\x7F"));
  EXPECT_TRUE(matches(std::string_view("[\0-\x1F]", 5), std::string_view("\0", 1)));
}

TEST(Glob, ABackslashTakesTheNextByteAsItIs) {
  EXPECT_TRUE(matches("\\*", "*"));
  EXPECT_FALSE(matches("\\*", "a"));
  EXPECT_TRUE(matches("a\\?\\[\\]", "a?[]"));
  EXPECT_TRUE(matches("\\\\", "\\"));
  EXPECT_TRUE(matches("\\a", "a"));
  EXPECT_TRUE(matches("]", "]")) << "outside brackets it is a byte as any other";
}

TEST(Glob, ReadsTheLiteralBeginning) {
  EXPECT_EQ(Glob("user:*:cart").head(), "user:");
  EXPECT_EQ(Glob("a\\*b?").head(), "a*b");
  EXPECT_EQ(Glob("*a").head(), "");
  EXPECT_EQ(Glob("a[b]").head(), "a");
  EXPECT_EQ(Glob("all").head(), "all");
}

TEST(Glob, RefusesWhatItCannotReadAndSaysWhereAndWhat) {
  EXPECT_EQ(problem_of("user:[a-z"),
            "the pattern \"user:[a-z\" has a bracket at byte 5 that is not closed; close it, or "
            "write \\[ for the character");
  for (const char* const open : {"[", "a[", "[a", "[^", "[a-", "[a-\\", "[\\]", "[a\\"}) {
    EXPECT_THAT(problem_of(open), HasSubstr("is not closed")) << open;
  }
  EXPECT_THAT(problem_of("[]"), HasSubstr("brackets without a character at byte 0"));
  EXPECT_THAT(problem_of("[^]"), HasSubstr("without a character"));
  EXPECT_THAT(problem_of("a[z-a]"), HasSubstr("a range in the brackets at byte 1"));
  EXPECT_THAT(problem_of("a\\"), HasSubstr("ends with a backslash"));
  EXPECT_EQ(problem_of("a\\\\"), "no error");
}

TEST(Glob, EscapedTextMatchesItselfAlone) {
  std::mt19937 random(7);
  const std::string_view bytes = "*?[]\\^-a\xFF";
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    std::string other;
    for (auto i = random() % 8; i > 0; --i) text += bytes[random() % bytes.size()];
    for (auto i = random() % 8; i > 0; --i) other += bytes[random() % bytes.size()];
    const Glob glob(Glob::escape(text));
    EXPECT_TRUE(glob.matches(text)) << text;
    EXPECT_EQ(glob.matches(other), other == text) << text << " and " << other;
  }
}

// The definition, without the shortcuts: tries each way.
bool matches_slowly(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '*') {
    for (std::size_t taken = 0; taken <= text.size(); ++taken) {
      if (matches_slowly(pattern.substr(1), text.substr(taken))) return true;
    }
    return false;
  }
  if (text.empty()) return false;
  const bool fits = pattern.front() == '?' || pattern.front() == text.front();
  return fits && matches_slowly(pattern.substr(1), text.substr(1));
}

TEST(Glob, AgreesWithTheDefinition) {
  std::mt19937 random(11);
  const std::string_view in_pattern = "ab*?*";
  int hits = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string pattern;
    std::string text;
    for (auto i = random() % 7; i > 0; --i) pattern += in_pattern[random() % 5];
    for (auto i = random() % 9; i > 0; --i) text += "ab"[random() % 2];
    const bool wanted = matches_slowly(pattern, text);
    hits += wanted ? 1 : 0;
    ASSERT_EQ(matches(pattern, text), wanted) << pattern << " and " << text;
  }
  EXPECT_GT(hits, 1000);
}

// It would take longer than any test may, if each way of dividing the text were tried.
TEST(Glob, ManyStarsTakeNoExponentialTime) {
  std::string pattern;
  for (int i = 0; i < 60; ++i) pattern += "a*";
  EXPECT_FALSE(matches(pattern + "b", std::string(5000, 'a')));
  EXPECT_TRUE(matches(pattern, std::string(5000, 'a')));
}

}  // namespace
}  // namespace polycache
