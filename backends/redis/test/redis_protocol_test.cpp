// The protocol of redis without a server: what commands look like, and how replies are read that
// arrive in pieces, are too large, or are damaged.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "endpoint.h"
#include "login.h"
#include "put_batch.h"
#include "reply_reader.h"

namespace polycache::redis {
namespace {

using namespace std::string_literals;
using State = ReplyReader::State;
using Type = Element::Type;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = BackendError::Kind;

constexpr std::size_t most_bytes = 1000;  // bytes of a value

// --- Commands ---

TEST(RedisCommandBuffer, WritesCommandsOneAfterTheOther) {
  CommandBuffer commands;
  commands.begin(3);
  commands.word("SET");
  commands.word("key");
  commands.word("");
  commands.begin("*2\r\n$6\r\nINCRBY\r\n");
  commands.number(-12);
  EXPECT_EQ(commands.count(), 2U);
  EXPECT_EQ(commands.bytes(),
            "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n*2\r\n$6\r\nINCRBY\r\n$3\r\n-12\r\n");
}

TEST(RedisCommandBuffer, WritesAnyBytes) {
  CommandBuffer commands;
  commands.begin(1);
  commands.word("a\r\n\0b"s);
  EXPECT_EQ(commands.bytes(), "*1\r\n$5\r\na\r\n\0b\r\n"s);
}

TEST(RedisCommandBuffer, WritesExtremeNumbers) {
  CommandBuffer commands;
  commands.begin(2);
  commands.number(INT64_MIN);
  commands.number(INT64_MAX);
  EXPECT_EQ(commands.bytes(),
            "*2\r\n$20\r\n-9223372036854775808\r\n$19\r\n9223372036854775807\r\n");
}

TEST(RedisCommandBuffer, IsEmptyAfterClear) {
  CommandBuffer commands;
  commands.begin(1);
  commands.word(std::string(3U << 20U, 'x'));
  commands.clear();
  EXPECT_EQ(commands.count(), 0U);
  EXPECT_EQ(commands.bytes(), "");
  commands.begin("*1\r\n$4\r\nPING\r\n");
  EXPECT_EQ(commands.bytes(), "*1\r\n$4\r\nPING\r\n");
}

// --- Replies ---

std::string shown(const Element& element) {
  const std::string place =
      std::to_string(element.depth) + "/" + std::to_string(element.index) + " ";
  switch (element.type) {
    case Type::string:
      return place + "$" + std::string(element.text);
    case Type::status:
      return place + "+" + std::string(element.text);
    case Type::error:
      return place + "-" + std::string(element.text);
    case Type::integer:
      return place + ":" + std::to_string(element.integer);
    case Type::nil:
      return place + "nil";
    default:
      return place + "*" + std::to_string(element.integer);
  }
}

// Reads bytes that arrive in slices of one size, like a connection.
class Slices {
 public:
  Slices(std::string_view bytes, std::size_t slice) : rest_(bytes), slice_(slice) {}

  State read(ReplyReader& reader, std::vector<std::string>& parts) {
    const auto sink = [&](const Element& element) { parts.push_back(shown(element)); };
    std::string_view piece = reader.is_idle() ? next() : std::string_view();
    for (;;) {
      const State state = reader.read(piece, sink);
      if (state != State::incomplete || rest_.empty()) return state;
      piece = next();
    }
  }

 private:
  std::string_view next() {
    const std::string_view piece = rest_.substr(0, slice_);
    rest_.remove_prefix(piece.size());
    return piece;
  }

  std::string_view rest_;
  std::size_t slice_;
};

// Reads one reply that arrives in pieces of that size; the whole at once by default.
State read(std::string_view bytes, std::vector<std::string>* parts = nullptr,
           std::size_t slice = std::string_view::npos) {
  ReplyReader reader(most_bytes);
  reader.expect(1);
  std::vector<std::string> all;
  const State state = Slices(bytes, slice).read(reader, all);
  if (parts != nullptr) *parts = all;
  return state;
}

TEST(RedisReplyReader, ReadsEveryTypeInPiecesOfAnySize) {
  struct Case {
    std::string_view bytes;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {"$5\r\nhello\r\n", {"0/0 $hello"}},
      {"$0\r\n\r\n", {"0/0 $"}},
      {"$4\r\n\r\n\r\n\r\n", {"0/0 $\r\n\r\n"}},
      {"$-1\r\n", {"0/0 nil"}},
      {"*-1\r\n", {"0/0 nil"}},
      {"+OK\r\n", {"0/0 +OK"}},
      {"+QUEUED\r\n", {"0/0 +QUEUED"}},
      {"-ERR no\r\n", {"0/0 -ERR no"}},
      {":-12\r\n", {"0/0 :-12"}},
      {"*0\r\n", {"0/0 *0"}},
      {"*3\r\n$1\r\na\r\n$-1\r\n:7\r\n", {"0/0 *3", "1/0 $a", "1/1 nil", "1/2 :7"}},
      {"*2\r\n*1\r\n+x\r\n$1\r\nb\r\n", {"0/0 *2", "1/0 *1", "2/0 +x", "1/1 $b"}},
  };
  for (const Case& c : cases) {
    for (std::size_t slice = 1; slice <= c.bytes.size(); ++slice) {
      std::vector<std::string> parts;
      EXPECT_EQ(read(c.bytes, &parts, slice), State::reply) << c.bytes << " in " << slice;
      EXPECT_EQ(parts, c.parts) << c.bytes << " in " << slice;
    }
  }
}

TEST(RedisReplyReader, AnUnfinishedReplyIsIncomplete) {
  for (const std::string_view whole :
       {"$5\r\nhello\r\n", "+QUEUED\r\n", "*2\r\n$1\r\na\r\n:1\r\n"}) {
    for (std::size_t size = 1; size < whole.size(); ++size) {
      ReplyReader reader(most_bytes);
      reader.expect(1);
      std::vector<std::string> parts;
      EXPECT_EQ(Slices(whole.substr(0, size), 3).read(reader, parts), State::incomplete);
      EXPECT_EQ(reader.outstanding(), 1U);
      EXPECT_FALSE(reader.is_idle());
    }
  }
}

TEST(RedisReplyReader, ReadsSeveralRepliesThatArriveTogether) {
  const std::string_view bytes = "+OK\r\n$1\r\na\r\n:3\r\n";
  for (std::size_t slice = 1; slice <= bytes.size(); ++slice) {
    ReplyReader reader(most_bytes);
    reader.expect(3);
    Slices slices(bytes, slice);
    std::vector<std::string> parts;
    for (std::size_t left = 3; left-- > 0;) {
      EXPECT_EQ(slices.read(reader, parts), State::reply);
      EXPECT_EQ(reader.outstanding(), left);
    }
    EXPECT_THAT(parts, ElementsAre("0/0 +OK", "0/0 $a", "0/0 :3"));
    EXPECT_TRUE(reader.is_idle());
  }
}

TEST(RedisReplyReader, AReplyWithoutARequestIsDamage) {
  for (const std::string_view bytes : {"+OK\r\n", "-ERR no\r\n"}) {
    ReplyReader reader(most_bytes);
    std::vector<std::string> parts;
    EXPECT_EQ(Slices(bytes, bytes.size()).read(reader, parts), State::damaged);
    EXPECT_THAT(reader.problem(), HasSubstr("more than it was asked for"));
  }
  for (const std::string_view more : {"+", "+OK\r\n", "x"}) {
    EXPECT_EQ(read("$1\r\na\r\n" + std::string(more)), State::damaged) << more;
  }
}

TEST(RedisReplyReader, ALargerValueThanAllowedIsRefusedBeforeItArrives) {
  for (const std::string_view bytes : {"$1001\r\n", "$1001\r\nabc", "*2\r\n$1\r\na\r\n$1001\r\n"}) {
    EXPECT_EQ(read(bytes), State::too_large) << bytes;
  }
  EXPECT_EQ(read("$1000\r\n" + std::string(1000, 'x') + "\r\n"), State::reply);
  EXPECT_EQ(read("$1001\r\n" + std::string(1001, 'x') + "\r\n"), State::too_large);
  ReplyReader reader(most_bytes);
  reader.expect(1);
  std::vector<std::string> parts;
  Slices("$1001\r\n", 7).read(reader, parts);
  EXPECT_THAT(reader.problem(), HasSubstr("1001 bytes"));
}

TEST(RedisReplyReader, DamageIsRecognisedInPiecesOfAnySize) {
  for (const std::string_view bytes :
       {"x", "HTTP/1.1 400 Bad Request\r\n", "$a\r\n", ":1x\r\n", "*x\r\n", "$5\r\nhelloxx",
        "*99999999\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"}) {
    for (std::size_t slice = 1; slice <= bytes.size(); ++slice) {
      const State state = read(bytes, nullptr, slice);
      // hiredis does not look at the two bytes behind a value.
      if (bytes == "$5\r\nhelloxx") {
        EXPECT_EQ(state, State::reply);
      } else {
        EXPECT_EQ(state, State::damaged) << bytes << " in " << slice;
      }
    }
  }
}

TEST(RedisReplyReader, ANumberOrALineWithoutABoundIsRefused) {
  for (const std::size_t slice : {1U, 100U}) {
    const State state = read("$99999999999999999999\r\n", nullptr, slice);
    EXPECT_TRUE(state == State::damaged || state == State::too_large) << slice;
  }
  for (const char* const begin : {"+", "-", ":", "$-", "$", "*"}) {
    const State state = read(begin + std::string(100'000, '1'), nullptr, 4096);
    EXPECT_TRUE(state == State::damaged || state == State::too_large) << begin;
  }
}

TEST(RedisReplyReader, RemembersErrorsUntilTheyAreForgotten) {
  ReplyReader reader(most_bytes);
  reader.expect(2);
  std::vector<std::string> parts;
  Slices("-ERR no\r\n", 100).read(reader, parts);
  EXPECT_TRUE(reader.met_error());
  reader.forget_error();
  Slices(":1\r\n", 100).read(reader, parts);
  EXPECT_FALSE(reader.met_error());
}

TEST(RedisReplyReader, AnExceptionOfTheSinkComesAfterTheReplyWasRead) {
  for (const std::string_view bytes : {"$1\r\na\r\n", "*2\r\n:1\r\n:2\r\n"}) {
    ReplyReader reader(most_bytes);
    reader.expect(2);
    int calls = 0;
    const auto thrower = [&](const Element&) {
      ++calls;
      throw std::runtime_error("sink");
    };
    EXPECT_THROW(static_cast<void>(reader.read(bytes, thrower)), std::runtime_error);
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(reader.outstanding(), 1U);
    std::vector<std::string> parts;
    EXPECT_EQ(Slices("+OK\r\n", 100).read(reader, parts), State::reply);
    EXPECT_THAT(parts, ElementsAre("0/0 +OK"));
  }
}

TEST(RedisReplyReader, AnswersAfterALargeReplyAreRead) {
  ReplyReader reader(1U << 20U);
  reader.expect(2);
  const std::string large = "$600000\r\n" + std::string(600'000, 'x') + "\r\n";
  std::vector<std::string> parts;
  EXPECT_EQ(Slices(large, 65'536).read(reader, parts), State::reply);
  EXPECT_EQ(parts.at(0).size(), 600'005U);
  EXPECT_EQ(Slices(":1\r\n", 2).read(reader, parts), State::reply);
  EXPECT_EQ(parts.at(1), "0/0 :1");
}

// --- Batches of puts ---

Element answered(Type type, std::string_view text = {}) { return {type, 0, 0, text, 0}; }

TEST(RedisPutBatch, SendsWhatFitsAndCountsTheRest) {
  const std::string large(most_bytes + 1, 'x');
  const std::vector<Item> items{{"a", "1", Ttl::forever()},
                                {"b", large, Ttl::forever()},
                                {"c", "3", Ttl(std::chrono::milliseconds(1500))},
                                {"d", "4", Ttl::forever()}};
  CommandBuffer commands;
  PutBatch batch(items, PutMode::always, most_bytes);
  ASSERT_TRUE(batch.next());
  EXPECT_EQ(batch.first_key(), "a");
  batch.compose(commands, true);
  EXPECT_EQ(commands.bytes(),
            "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
            "*4\r\n$6\r\nPSETEX\r\n$1\r\nc\r\n$4\r\n1500\r\n$1\r\n3\r\n"
            "*3\r\n$3\r\nSET\r\n$1\r\nd\r\n$1\r\n4\r\n");
  ASSERT_EQ(batch.sent(), 3U);
  EXPECT_TRUE(batch.take(0, answered(Type::status)));
  EXPECT_TRUE(batch.take(1, answered(Type::error, "OOM command not allowed")));
  EXPECT_TRUE(batch.take(2, answered(Type::nil)));
  EXPECT_THAT(batch.too_large(), ElementsAre(1U));
  EXPECT_THAT(batch.refused(), ElementsAre(2U));
  EXPECT_THAT(batch.failed(), ElementsAre(3U));
  EXPECT_EQ(batch.error(), "");
  EXPECT_THAT(batch.keys_to_erase(), ElementsAre("c", "b"));
  batch.stored(3);
  EXPECT_TRUE(batch.failed().empty());
  EXPECT_FALSE(batch.next());
}

TEST(RedisPutBatch, ComposesAgainWithoutPsetexWhereThatIsDenied) {
  const std::vector<Item> items{{"a", "1", Ttl(std::chrono::milliseconds(5))}};
  CommandBuffer commands;
  PutBatch batch(items, PutMode::always, most_bytes);
  ASSERT_TRUE(batch.next());
  batch.compose(commands, true);
  EXPECT_TRUE(batch.take(0, answered(Type::error, "ERR unknown command `PSETEX`")));
  EXPECT_TRUE(batch.is_psetex_denied());
  batch.compose(commands, false);
  EXPECT_EQ(batch.error(), "");
  EXPECT_EQ(commands.bytes(), "*5\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n$2\r\nPX\r\n$1\r\n5\r\n");
  EXPECT_TRUE(batch.take(0, answered(Type::status)));
  EXPECT_FALSE(batch.take(0, answered(Type::integer)));
}

TEST(RedisPutBatch, AKeyThatALaterItemStoredIsNotErased) {
  const std::vector<Item> items{{"a", "1", Ttl::forever()},
                                {"b", "2", Ttl::forever()},
                                {"a", "3", Ttl::forever()},
                                {"b", "4", Ttl::forever()}};
  CommandBuffer commands;
  PutBatch batch(items, PutMode::always, most_bytes);
  ASSERT_TRUE(batch.next());
  batch.compose(commands, true);
  for (std::size_t i = 0; i < 4; ++i) {
    const bool is_stored = i == 2;
    batch.take(i, is_stored ? answered(Type::status) : answered(Type::error, "OOM no"));
  }
  EXPECT_THAT(batch.keys_to_erase(), ElementsAre("b"));
}

TEST(RedisPutBatch, RefusesAllForAServerWithoutMemory) {
  const std::vector<Item> items{{"a", "1", Ttl::forever()}, {"b", "2", Ttl::forever()}};
  CommandBuffer commands;
  PutBatch batch(items, PutMode::if_absent, most_bytes);
  ASSERT_TRUE(batch.next());
  batch.compose(commands, true);
  batch.refuse_all();
  EXPECT_EQ(batch.sent(), 0U);
  EXPECT_THAT(batch.refused(), ElementsAre(0U, 1U));
}

TEST(RedisPutBatch, LimitsTheCommandsAndTheBytesOfARoundTrip) {
  const std::vector<Item> many(2500, Item{"k", "v", Ttl::forever()});
  CommandBuffer commands;
  PutBatch small(many, PutMode::always, most_bytes);
  std::vector<std::size_t> sizes;
  while (small.next()) {
    small.compose(commands, true);
    sizes.push_back(small.sent());
  }
  EXPECT_THAT(sizes, ElementsAre(1000U, 1000U, 500U));
  const std::string megabyte(std::size_t{1} << 20U, 'x');
  const std::vector<Item> large(3, Item{"k", megabyte, Ttl::forever()});
  PutBatch one_by_one(large, PutMode::always, megabyte.size());
  sizes.clear();
  while (one_by_one.next()) {
    one_by_one.compose(commands, true);
    sizes.push_back(one_by_one.sent());
  }
  EXPECT_THAT(sizes, ElementsAre(1U, 1U, 1U));
}

// --- The login ---

Element error(std::string_view text) { return {Type::error, 0, 0, text, 0}; }

std::string composed(const Endpoint& endpoint) {
  CommandBuffer commands;
  Login(endpoint).compose(commands);
  return std::string(commands.bytes());
}

TEST(RedisLogin, SendsWhatTheEndpointHas) {
  EXPECT_EQ(composed(parse_endpoint("redis://host")), "");
  EXPECT_EQ(composed(parse_endpoint("redis://host/0")), "");
  EXPECT_EQ(composed(parse_endpoint("redis://host/3")), "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n");
  EXPECT_EQ(composed(parse_endpoint("redis://:pw@host")), "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n");
  EXPECT_EQ(composed(parse_endpoint("redis://me:pw@host/3")),
            "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n");
}

TEST(RedisLogin, IsAdmittedUnlessAReplyIsAnError) {
  const Endpoint endpoint = parse_endpoint("redis://me:pw@host/3");
  const Login login(endpoint);
  const Element ok{Type::status, 0, 0, "OK", 0};
  EXPECT_FALSE(login.refusal_in(0, ok));
  EXPECT_FALSE(login.refusal_in(1, ok));
  const auto kind = [&](std::size_t command, std::string_view text) {
    return login.refusal_in(command, error(text)).value().kind;
  };
  EXPECT_EQ(kind(0, "WRONGPASS invalid"), Kind::denied);
  EXPECT_EQ(kind(0, "LOADING reading"), Kind::overloaded);
  EXPECT_EQ(kind(1, "ERR DB index is out of range"), Kind::storage);
  EXPECT_EQ(kind(1, "NOPERM no permissions"), Kind::denied);
  EXPECT_EQ(kind(1, "ERR max number of clients reached"), Kind::overloaded);
}

TEST(RedisLogin, ARefusalOfTheDatabaseIsRecognisedWithoutAPassword) {
  const Endpoint endpoint = parse_endpoint("redis://host/3");
  const auto refusal = Login(endpoint).refusal_in(0, error("NOAUTH Authentication required."));
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->kind, Kind::denied);
  EXPECT_THAT(refusal->message, HasSubstr("database 3"));
}

TEST(RedisLogin, DoesNotRepeatTheLogin) {
  const Endpoint endpoint = parse_endpoint("redis://me:secret@host/3");
  const auto refusal = Login(endpoint).refusal_in(0, error("ERR secret is wrong for me"));
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->message, Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace polycache::redis
