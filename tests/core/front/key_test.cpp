#include "polycache/key.h"

#include <gtest/gtest.h>

#include "front/key_policy.h"
#include "polycache/error.h"

namespace polycache {
namespace {

TEST(Key, JoinsPartsAndEscapesWhatWouldBeAmbiguous) {
  EXPECT_EQ(key("user:profile", 42, "page"), "user:profile:42:page");
  EXPECT_EQ(key("k", "a:b", "100%", "x y", "\x7F\n"), "k:a%3Ab:100%25:x%20y:%7F%0A");
  EXPECT_EQ(key("k"), "k");
  EXPECT_EQ(key("k", ""), "k:");
  EXPECT_NE(key("k", "a", "b"), key("k", "a:b"));
  EXPECT_NE(key("k", "a%3Ab"), key("k", "a:b"));
  EXPECT_EQ(key("k", true, 'c', -5, 1.5, std::string("s")), "k:1:c:-5:1.5:s");
  enum class Colour : unsigned char { red = 3 };
  EXPECT_EQ(key("k", Colour::red), "k:3");
  EXPECT_EQ(key("k", "清"), "k:清");
}

TEST(CheckKey, CountsBytesAndFindsEveryBadOne) {
  EXPECT_FALSE(check_key(std::string(250, 'k')).any());
  EXPECT_TRUE(check_key(std::string(251, 'k')).too_long);
  EXPECT_FALSE(check_key("").any());
  for (int byte = 0; byte < 256; ++byte) {
    const bool bad = byte <= 0x20 || byte == 0x7f;
    for (std::size_t size : {1U, 3U, 7U, 8U, 9U, 16U, 23U}) {
      for (std::size_t at = 0; at < size; ++at) {
        std::string text(size, 'k');
        text[at] = static_cast<char>(byte);
        ASSERT_EQ(check_key(text).bad_byte, bad) << byte << " at " << at << " of " << size;
      }
    }
  }
}

TEST(CheckKey, IsRightForNeighbouringBytes) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      std::string text = "kkkkkkkk";
      text[3] = static_cast<char>(a);
      text[4] = static_cast<char>(b);
      const auto bad = [](int byte) { return byte <= 0x20 || byte == 0x7f; };
      ASSERT_EQ(check_key(text).bad_byte, bad(a) || bad(b)) << a << " " << b;
    }
  }
}

TEST(KeyPolicy, KeysOfLocksAreNoKeysOfUsersAndLeaveRoom) {
  const KeyPolicy policy("shop", 1, nullptr, true);
  EXPECT_EQ(policy.lock_key("report"), "shop:~k:{report}");
  EXPECT_EQ(policy.lock_key("a b:{}%"), "shop:~k:{a%20b%3A{}%25}");
  EXPECT_TRUE(policy.lock_key("k").starts_with(policy.reserved_head()));
  // With 8 bytes more, which a store may append, it still fits.
  const std::size_t room = 250 - 8 - std::string("shop:~k:{}").size();
  EXPECT_EQ(policy.lock_key(std::string(room, 'n')).size(), 250U - 8U);
  const std::string hashed = policy.lock_key(std::string(room + 1, 'n'));
  EXPECT_EQ(hashed.size(), std::string("shop:~k#{}").size() + 32);
  EXPECT_TRUE(hashed.starts_with("shop:~k#{"));
  EXPECT_NE(hashed, policy.lock_key(std::string(room + 2, 'n')));
  EXPECT_FALSE(check_key(policy.lock_key(std::string("\0\n", 2))).any());
}

TEST(KeyPolicy, ComposesLongAndShortKeysOfEveryVersion) {
  const KeyPolicy policy("shop", 1, nullptr, true);
  FinalKey final_key;
  EXPECT_FALSE(policy.compose(final_key, "k", std::nullopt).any());
  EXPECT_EQ(final_key.view(), "shop:1:k");
  policy.compose(final_key, "", std::nullopt);
  EXPECT_EQ(final_key.view(), "shop:1:");
  policy.compose(final_key, "k", -7);
  EXPECT_EQ(final_key.view(), "shop:-7:k");
  EXPECT_TRUE(policy.compose(final_key, std::string(1000, 'x'), std::nullopt).too_long);
  EXPECT_EQ(final_key.view(), "shop:1:" + std::string(1000, 'x'));
  EXPECT_EQ(policy.head(), "shop:1:");
  EXPECT_EQ(KeyPolicy("a", 2, default_key_function, false).head(), "");
}

TEST(RegisterKeyFunction, ATakenNameIsAnError) {
  register_key_function("key_test", default_key_function);
  EXPECT_THROW(register_key_function("key_test", default_key_function), ConfigError);
  EXPECT_THROW(register_key_function("default", default_key_function), ConfigError);
  EXPECT_THROW(register_key_function("", default_key_function), ConfigError);
  EXPECT_THROW(register_key_function("empty", KeyFunction()), ConfigError);
}

}  // namespace
}  // namespace polycache
