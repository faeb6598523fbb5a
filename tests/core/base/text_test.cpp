#include "polycache/author/text.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "polycache/author/counter.h"
#include "polycache/error.h"

using namespace std::chrono_literals;

namespace polycache {
namespace {

TEST(ParseDuration, ReadsWhatPeopleWrite) {
  EXPECT_EQ(parse_duration("250ms"), 250ms);
  EXPECT_EQ(parse_duration("1h30m"), 90min);
  EXPECT_EQ(parse_duration("1.5h"), 90min);
  EXPECT_EQ(parse_duration("-5s"), -5s);
  EXPECT_EQ(parse_duration("7d"), 24h * 7);
}

TEST(ParseDuration, ANumberAloneIsSeconds) {
  EXPECT_EQ(parse_duration("300"), 300s);
  EXPECT_EQ(parse_duration("0.25"), 250ms);
  EXPECT_EQ(parse_duration("0"), 0s);
  EXPECT_EQ(parse_duration("-5"), -5s);
}

TEST(ParseDuration, RoundsUpSoThatAPositiveDurationIsNeverZero) {
  EXPECT_EQ(parse_duration("0.4ms"), 1ms);
  EXPECT_EQ(parse_duration("0.0000001"), 1ms);
  EXPECT_EQ(parse_duration("1.2ms"), 2ms);
  EXPECT_EQ(parse_duration("1s0.1ms"), 1001ms);
  EXPECT_EQ(parse_duration("0ms"), 0ms);
  EXPECT_EQ(parse_duration("-0.4ms"), 0ms);
  // 0.57 * 1000 and their like are not quite whole in binary.
  for (int ms = 1; ms < 10000; ++ms) {
    std::string digits = std::to_string(ms % 1000);
    digits.insert(0, 3 - digits.size(), '0');
    const std::string seconds = std::to_string(ms / 1000) + "." + digits;
    EXPECT_EQ(parse_duration(seconds + "s"), std::chrono::milliseconds(ms)) << seconds;
    EXPECT_EQ(parse_duration(seconds), std::chrono::milliseconds(ms)) << seconds;
  }
}

TEST(ParseDuration, RefusesEverythingElse) {
  for (const char* text : {"", "-", "s", "5 s", "1.2.3", ".", "--5", "1e3", "+5", " 5", "5 ", "5x",
                           "1h30", "nan", "1e400s", "99999999999w"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(ParseSize, ReadsBothKindsOfUnits) {
  EXPECT_EQ(parse_size("64MiB"), 64 * 1024 * 1024);
  EXPECT_EQ(parse_size("10kB"), 10000);
  EXPECT_EQ(parse_size("512"), 512);
  EXPECT_EQ(parse_size("0.4B"), 1) << "rounded up, as durations are";
  EXPECT_EQ(parse_size("1.1kB"), 1100);
  EXPECT_EQ(parse_size("9007199254740991"), 9007199254740991);
  for (const char* text : {"", "-1", "MiB", "1 MiB", "1mib", "99999999999TiB"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Nearest, FindsTypingErrorsOnly) {
  constexpr std::array<std::string_view, 3> words{"max_entries", "max_bytes", "policy"};
  EXPECT_EQ(nearest("max_entires", words), "max_entries");
  EXPECT_EQ(nearest("polcy", words), "policy");
  EXPECT_FALSE(nearest("compression", words));
}

TEST(Quoted, ALongTextIsCutAndALongPathIsNot) {
  const std::string path = "/" + std::string(300, 'x') + "/a\n.so";
  EXPECT_LT(quote(path).size(), 100);
  EXPECT_TRUE(quote(path).ends_with("...\""));
  EXPECT_EQ(quote_path(path), "\"/" + std::string(300, 'x') + "/a\\x0a.so\"");
}

TEST(Quoted, ShowsNoRawControlCharacter) {
  EXPECT_EQ(quote("a\"b\n\xff清"), "\"a\\\"b\\x0a\\xff清\"");
  EXPECT_LT(quote(std::string(1000, 'x')).size(), 100U);
}

TEST(WithoutCredentials, HidesUserAndPassword) {
  EXPECT_EQ(without_credentials("redis://user:secret@host:1/2"), "redis://host:1/2");
  EXPECT_EQ(without_credentials("redis://host/1?password=p"), "redis://host/1?...");
  EXPECT_EQ(without_credentials("redis://host/secret"), "redis://host/...");
  EXPECT_EQ(without_credentials("host:1?weight=2"), "host:1?...");
  EXPECT_EQ(without_credentials("/var/cache/a.db"), "/var/cache/a.db");
  EXPECT_EQ(without_credentials("/var/a@b.db"), "/var/a@b.db");
}

TEST(WithoutCredentials, HidesAPasswordThatLacksItsHost) {
  EXPECT_EQ(without_credentials("redis://user:secret"), "redis://...");
  EXPECT_EQ(without_credentials("redis://user:123456/1"), "redis://...");
  EXPECT_EQ(without_credentials("redis://:12345"), "redis://...");
  EXPECT_EQ(without_credentials("redis://user:secret[::1]:1"), "redis://...");
  for (const char* plain : {"redis://host:6379/1", "redis://[::1]:6379", "redis://[::1]",
                            "unix:///run/a:b", "redis://host:"}) {
    EXPECT_EQ(without_credentials(plain), plain);
  }
}

TEST(WithoutCredentials, ShowsNothingOfWhatIsMalformed) {
  for (const char* text :
       {"redis://:p@ss@host", "redis://:p/a@host", "redis://u:p/a@b?c@host/1", "redis://h/0#p",
        "redis://h:1,password=p", "redis://h:1 p", "redis://h:1&auth=p", "redis://"}) {
    EXPECT_EQ(without_credentials(text), "redis://...") << text;
  }
  for (const char* text :
       {"user:secret@host:1", "p@ss", "host:6380,password=p", "host=h password=p", "h;password=p",
        "redis:p", "-a p", "redis-cli -u redis://u:p@h", "{\"password\": \"p\"}", "'redis://u:p@h'",
        "//u:p@h", "/u:p@h", "/run/x.sock,password=p", "unix:/run/x.sock;p"}) {
    EXPECT_EQ(without_credentials(text), "...") << text;
  }
  for (const char* text :
       {"", "pages", "cache.db", "var/cache.db", "/var/my cache/a.db", ":memory:", ":memory:a",
        "unix:/run/a.sock", "host", "host:1", "[::1]:1"}) {
    EXPECT_EQ(without_credentials(text), text);
  }
}

TEST(IsHost, TakesNamesAndAddressesOnly) {
  for (const char* host : {"localhost", "cache-1.example.org", "my_service", "example.org.", "a",
                           "10.0.0.1", "::1", "fe80::1%eth0", "xn--bcher-kva.example", "1a.b2"}) {
    EXPECT_TRUE(is_host(host)) << host;
  }
  for (const std::string& host : {std::string(),         std::string("."),
                                  std::string("a..b"),   std::string(".a"),
                                  std::string("-u"),     std::string("a-"),
                                  std::string("a b"),    std::string(" a"),
                                  std::string("a,b"),    std::string("a;b"),
                                  std::string("a=b"),    std::string("a/b"),
                                  std::string("a@b"),    std::string("a\0b", 3),
                                  std::string("a\n"),    std::string("123456"),
                                  std::string("10.0.0"), std::string("10.0.0.256"),
                                  std::string("[::1]"),  std::string("::1%"),
                                  std::string("a:b"),    std::string("b\xc3\xbc"),
                                  std::string(64, 'a'),  std::string("\"a\"")}) {
    EXPECT_FALSE(is_host(host)) << host;
  }
  std::string longest = "a";
  while (longest.size() < 253) longest += ".a";
  EXPECT_TRUE(is_host(longest));
  EXPECT_FALSE(is_host(longest + "a.a"));
}

TEST(Counter, IsOneSpellingOfASigned64BitInteger) {
  EXPECT_EQ(parse_counter("0"), 0);
  EXPECT_EQ(parse_counter("-9223372036854775808"), INT64_MIN);
  for (const char* text : {"", "-", "-0", "007", "+1", " 1", "1 ", "1.5", "9223372036854775808"})
    EXPECT_FALSE(parse_counter(text)) << text;
  EXPECT_EQ(add_to_counter("2", -5), -3);
  EXPECT_THROW(add_to_counter("9223372036854775807", 1), ValueError);
  EXPECT_THROW(add_to_counter("x", 1), ValueError);
}

}  // namespace
}  // namespace polycache
