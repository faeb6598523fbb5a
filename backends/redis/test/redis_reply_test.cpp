// Replies that the store "redis" reads without hiredis: which they are, and what is in them.
// tests/fuzz/redis_reply_fuzz.cpp compares them with what hiredis reads.

#include "reply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace polycache::redis {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::size_t most_bytes = 1000;  // bytes of a value

std::string shown(const Element& element) {
  const std::string place = std::to_string(element.depth) + "/" + std::to_string(element.index);
  switch (element.type) {
    case Element::Type::string:
      return place + " string " + std::string(element.text);
    case Element::Type::status:
      return place + " status " + std::string(element.text);
    case Element::Type::nil:
      return place + " nil";
    case Element::Type::array:
      return place + " array of " + std::to_string(element.integer);
    default:
      return place + " something else";
  }
}

std::vector<std::string> parts(std::string_view bytes) {
  std::vector<std::string> parts;
  UsualReply reply(bytes);
  if (!reply.is_whole(most_bytes)) return parts;
  EXPECT_TRUE(reply.read([&](const Element& element) { parts.push_back(shown(element)); }));
  return parts;
}

TEST(RedisUsualReply, IsAValueOrNoneOrOk) {
  EXPECT_THAT(parts("$5\r\nhello\r\n"), ElementsAre("0/0 string hello"));
  EXPECT_THAT(parts("$0\r\n\r\n"), ElementsAre("0/0 string "));
  EXPECT_THAT(parts("$4\r\n\r\n\r\n\r\n"), ElementsAre("0/0 string \r\n\r\n"));
  EXPECT_THAT(parts("$12\r\n0123456789ab\r\n"), ElementsAre("0/0 string 0123456789ab"));
  EXPECT_THAT(parts("$-1\r\n"), ElementsAre("0/0 nil"));
  EXPECT_THAT(parts("+OK\r\n"), ElementsAre("0/0 status OK"));
}

TEST(RedisUsualReply, IsAnArrayOfValues) {
  EXPECT_THAT(parts("*0\r\n"), ElementsAre("0/0 array of 0"));
  EXPECT_THAT(parts("*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbc\r\n"),
              ElementsAre("0/0 array of 3", "1/0 string a", "1/1 nil", "1/2 string bc"));
}

TEST(RedisUsualReply, IsNothingElse) {
  for (const char* const bytes : {"x",
                                  "+PONG\r\n",
                                  "-ERR no\r\n",
                                  ":1\r\n",
                                  "$-2\r\n",
                                  "*-1\r\n",
                                  "$\r\n",
                                  "*\r\n",
                                  "$a\r\n",
                                  "$05\r\nhello\r\n",
                                  "$5\rhello\r\n",
                                  "$5\r\nhello\n\n",
                                  "$+5\r\nhello\r\n",
                                  "$ 5\r\nhello\r\n",
                                  "*1\r\n*0\r\n",
                                  "*1\r\n:1\r\n",
                                  "*1\r\n+OK\r\n",
                                  "$99999999\r\nx\r\n",
                                  "*18446744073709551617\r\n$1\r\na\r\n",
                                  "$18446744073709551621\r\nhello\r\n"}) {
    EXPECT_THAT(parts(bytes), IsEmpty()) << bytes;
  }
}

TEST(RedisUsualReply, HasNoValueOverTheLimit) {
  for (const std::string_view reply : {"$5\r\nhello\r\n", "*2\r\n$1\r\na\r\n$5\r\nhello\r\n"}) {
    EXPECT_TRUE(UsualReply(reply).is_whole(5)) << reply;
    EXPECT_FALSE(UsualReply(reply).is_whole(4)) << reply;
  }
}

TEST(RedisUsualReply, IsWholeAndAlone) {
  for (const std::string_view whole :
       {"$5\r\nhello\r\n", "$-1\r\n", "+OK\r\n", "*0\r\n", "*2\r\n$1\r\na\r\n$-1\r\n"}) {
    EXPECT_TRUE(UsualReply(whole).is_whole(most_bytes)) << whole;
    for (std::size_t size = 1; size < whole.size(); ++size) {
      EXPECT_FALSE(UsualReply(whole.substr(0, size)).is_whole(most_bytes))
          << whole << " cut at " << size;
    }
    for (const char* const more : {"\r", "$", "+OK\r\n"}) {
      EXPECT_FALSE(UsualReply(std::string(whole) + more).is_whole(most_bytes)) << whole << more;
    }
  }
}

}  // namespace
}  // namespace polycache::redis
