#include "keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "polycache/error.h"

namespace polycache::aead {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string hex(char digit) { return std::string(64, digit); }

class Keys : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_GE(sodium_init(), 0); }

  std::vector<Key> read(const OptionValue& value) {
    problems_.clear();
    const OptionMap options{{"keys", value}};
    const std::vector<std::string> no_location;
    const OptionReader reader(
        "caches.shop.transform[0]", no_location, options,
        [this](std::string_view member, std::string_view problem) {
          problems_.push_back(std::string(member) + ": " + std::string(problem));
        });
    return read_keys(reader);
  }
  std::vector<std::string> ids(const OptionValue& value) {
    std::vector<std::string> ids;
    for (const Key& key : read(value)) ids.push_back(key.id);
    return ids;
  }

  std::vector<std::string> problems_;
};

TEST_F(Keys, AreReadInTheOrderOfTheList) {
  EXPECT_THAT(ids(std::vector<std::string>{"b:" + hex('b'), "a:" + hex('A')}),
              ElementsAre("b", "a"));
  EXPECT_THAT(problems_, IsEmpty());
  const std::vector<Key> keys = read("2026-07_x.1:" + hex('1'));
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_EQ(keys[0].secret.data()[0], 0x11);
  EXPECT_EQ(keys[0].secret.data()[31], 0x11);
}

TEST_F(Keys, SeveralStandInOneFileOnLinesOfTheirOwn) {
  EXPECT_THAT(ids("b:" + hex('b') + "\n\n  a:" + hex('a') + "\r\nc:" + hex('c')),
              ElementsAre("b", "a", "c"));
  EXPECT_THAT(problems_, IsEmpty());
}

TEST_F(Keys, AreRequired) {
  for (const OptionValue& nothing : {OptionValue(std::string()), OptionValue(std::string(" \n")),
                                     OptionValue(std::vector<std::string>())}) {
    EXPECT_THAT(read(nothing), IsEmpty());
    EXPECT_THAT(problems_, ElementsAre(HasSubstr("caches.shop.transform[0].options.keys: is "
                                                 "missing; expected a list of ID:KEY")));
  }
}

TEST_F(Keys, OfAnotherFormAreErrorsThatNameTheirPlaceAndShowNoKey) {
  const std::string secret(64, 'd');
  const std::string short_secret(63, 'd');
  const struct {
    std::string text;
    std::string problem;
  } wrong[] = {
      {secret, "key 2 does not have the form ID:KEY"},
      {secret + ":a", "key 2 does not have the form ID:KEY"},  // the wrong way round
      {":" + secret, "key 2 does not have the form ID:KEY"},
      {"two words", "key 2 does not have the form ID:KEY"},
      {"a/b:" + secret, "key 2 does not have the form ID:KEY"},
      {std::string(33, 'i') + ":" + secret, "key 2 does not have the form ID:KEY"},
      {"b:" + short_secret, "key 2, \"b\", has 63 characters after the colon; expected 64"},
      {"b:" + secret + "d", "key 2, \"b\", has 65 characters after the colon; expected 64"},
      {"b:", "key 2, \"b\", has 0 characters after the colon; expected 64"},
      {"b:" + short_secret + "g", "key 2, \"b\", has a character that is not a hexadecimal digit"},
      {"b:" + short_secret + ":", "key 2, \"b\", has a character that is not a hexadecimal digit"},
  };
  for (const auto& [text, problem] : wrong) {
    EXPECT_THAT(ids(std::vector<std::string>{"good:" + hex('1'), text}), ElementsAre("good"));
    ASSERT_FALSE(problems_.empty()) << text;
    EXPECT_THAT(problems_[0], AllOf(HasSubstr("caches.shop.transform[0].options.keys: "),
                                    HasSubstr(problem), Not(HasSubstr("ddd"))));
  }
}

TEST_F(Keys, WithOneIdAreAnErrorThatNamesIt) {
  EXPECT_THAT(ids(std::vector<std::string>{"a:" + hex('1'), "a:" + hex('2')}), ElementsAre("a"));
  EXPECT_THAT(problems_, ElementsAre(HasSubstr("the id \"a\" is given twice")));
}

TEST_F(Keys, OfAnotherTypeAreAnErrorThatDoesNotShowThem) {
  read(std::int64_t{123456});
  ASSERT_FALSE(problems_.empty());
  EXPECT_THAT(problems_[0], AllOf(HasSubstr("expected a string in quotes, or a list of strings"),
                                  Not(HasSubstr("123456"))));
}

TEST(SecretKeys, CannotBeWrittenTo) {
  ASSERT_GE(sodium_init(), 0);
  const SecretKey key = SecretKey::from_hex(hex('5'));
  ASSERT_TRUE(key);
  EXPECT_DEATH(const_cast<unsigned char*>(key.data())[0] = 1, "");
}

}  // namespace
}  // namespace polycache::aead
