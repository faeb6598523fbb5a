// memcached's text protocol without a server: what commands look like, and what replies mean for
// the command that they answer. How replies are cut out of bytes: memcached_replies_test.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "answer.h"
#include "command.h"
#include "reply_reader.h"

namespace polycache::memcached {
namespace {

using ::testing::Optional;
using Step = EraseAnswer::Step;
using Values = ReplyReader::Values;
using Said = Reply::Kind;

// --- Commands ---

TEST(MemcachedCommandBuffer, WritesReads) {
  CommandBuffer commands;
  const std::array<std::string_view, 2> keys{"a", "bc"};
  commands.get(keys, Want::value);
  commands.get({keys.data(), 1}, Want::value_and_version);
  EXPECT_EQ(commands.bytes(), "get a bc\r\ngets a\r\n");
}

TEST(MemcachedCommandBuffer, WritesStores) {
  const NewItem item{"key", "val\r\nue", {.flags = 4294967295, .expiration = -1}};
  const auto stored = [&](How how) {
    CommandBuffer commands;
    commands.begin_store(how, item, 18446744073709551615U);
    commands.value(item.value);
    commands.end_store();
    return std::string(commands.bytes());
  };
  EXPECT_EQ(stored(How::set), "set key 4294967295 -1 7\r\nval\r\nue\r\n");
  EXPECT_EQ(stored(How::add), "add key 4294967295 -1 7\r\nval\r\nue\r\n");
  EXPECT_EQ(stored(How::replace_version),
            "cas key 4294967295 -1 7 18446744073709551615\r\nval\r\nue\r\n");
}

TEST(MemcachedCommandBuffer, TheLineOfAStoreHasABound) {
  CommandBuffer commands;
  const std::string key(max_key, 'k');
  const NewItem item{key, {}, {.flags = UINT32_MAX, .expiration = INT64_MIN}};
  commands.begin_store(How::replace_version, item, UINT64_MAX);
  commands.end_store();
  EXPECT_LE(commands.bytes().size(), CommandBuffer::most_of_store);
}

TEST(MemcachedCommandBuffer, WritesErasures) {
  CommandBuffer commands;
  commands.erase("a", Look::at_flags, true);
  commands.erase("b", Look::at_flags, false);
  commands.erase("c", Look::at_nothing, true);
  EXPECT_EQ(commands.bytes(), "mg a f\r\ndelete a\r\nget b\r\ndelete b\r\ndelete c\r\n");
}

TEST(MemcachedCommandBuffer, IsEmptyAfterClear) {
  CommandBuffer commands;
  EXPECT_TRUE(commands.empty());
  commands.version();
  commands.flush_all();
  EXPECT_EQ(commands.bytes(), "version\r\nflush_all\r\n");
  commands.clear();
  EXPECT_TRUE(commands.empty());
}

// --- Answers ---

// The replies in these bytes, which arrive in pieces of that size.
template <class Sink>
void read(std::string_view bytes, std::size_t slice, Values values, Sink sink) {
  ReplyReader reader(1000, 1024);
  Reply reply;
  while (!bytes.empty()) {
    const auto room = reader.room();
    const std::size_t size = bytes.copy(room.data(), std::min(slice, room.size()));
    reader.arrived(size);
    bytes.remove_prefix(size);
    ReplyReader::State state = ReplyReader::State::reply;
    while ((state = reader.next(reply, values)) == ReplyReader::State::reply) sink(reply);
    ASSERT_EQ(state, ReplyReader::State::incomplete);
  }
}

Reply reply(Said kind, std::string_view line = {}) { return {kind, {}, line}; }

TEST(MemcachedAnswer, FindsTheVersionOfTheServer) {
  EXPECT_EQ(version_in(reply(Said::version, "VERSION 1.6.18")), "1.6.18");
  EXPECT_EQ(version_in(reply(Said::version, "VERSION ")), "");
  EXPECT_EQ(version_in(reply(Said::version, "VERSION x1")), "");
  EXPECT_EQ(version_in(reply(Said::ok, "OK")), "");
}

TEST(MemcachedAnswer, KnowsWhichVersionsHaveMetaCommands) {
  for (const char* const version : {"1.6.12", "1.6.18", "1.7", "2", "1.6.12-rc1", "10.0.0"}) {
    EXPECT_TRUE(has_meta_commands(version)) << version;
  }
  for (const char* const version : {"1.6.11", "1.6", "1.5.99", "0", "", "x", "1..99"}) {
    EXPECT_FALSE(has_meta_commands(version)) << version;
  }
}

TEST(MemcachedAnswer, AStoreHasTheseOutcomes) {
  EXPECT_THAT(outcome_of(How::set, reply(Said::stored)), Optional(Outcome::done));
  EXPECT_THAT(outcome_of(How::add, reply(Said::not_stored)), Optional(Outcome::exists));
  EXPECT_THAT(outcome_of(How::replace_version, reply(Said::exists)), Optional(Outcome::exists));
  EXPECT_THAT(outcome_of(How::replace_version, reply(Said::not_found)), Optional(Outcome::absent));
  for (const How how : {How::set, How::add, How::replace_version}) {
    for (const char* const line :
         {"SERVER_ERROR object too large for cache", "SERVER_ERROR out of memory storing object"}) {
      EXPECT_THAT(outcome_of(how, reply(Said::server_error, line)), Optional(Outcome::refused));
    }
  }
}

TEST(MemcachedAnswer, OtherRepliesAreNoneToAStore) {
  EXPECT_FALSE(outcome_of(How::set, reply(Said::not_stored)));
  EXPECT_FALSE(outcome_of(How::set, reply(Said::exists)));
  EXPECT_FALSE(outcome_of(How::add, reply(Said::exists)));
  EXPECT_FALSE(outcome_of(How::add, reply(Said::not_found)));
  EXPECT_FALSE(outcome_of(How::replace_version, reply(Said::not_stored)));
  for (const Said kind : {Said::value, Said::end, Said::deleted, Said::ok, Said::version,
                          Said::error, Said::client_error, Said::meta_hit, Said::meta_miss}) {
    EXPECT_FALSE(outcome_of(How::set, reply(kind)));
  }
  EXPECT_FALSE(outcome_of(How::set, reply(Said::server_error, "SERVER_ERROR unknown")));
}

TEST(MemcachedAnswer, MatchesItemsWithKeysInAnyOrderAndOnce) {
  const std::vector<std::string_view> keys{"a", "b", "a", "c"};
  GetAnswer answer;
  answer.begin(keys);
  const auto index_of = [&](std::string_view key) {
    return answer.index_of({.key = key, .value = {}});
  };
  EXPECT_THAT(index_of("b"), Optional(1U));
  EXPECT_THAT(index_of("c"), Optional(3U));
  EXPECT_THAT(index_of("a"), Optional(0U));
  EXPECT_THAT(index_of("a"), Optional(2U));
  EXPECT_FALSE(index_of("a"));
  EXPECT_FALSE(index_of("d"));
  answer.begin({keys.data(), 1});
  EXPECT_FALSE(index_of("b"));
  EXPECT_THAT(index_of("a"), Optional(0U));
}

TEST(MemcachedAnswer, AnErasureIsReadInPiecesOfAnySize) {
  struct Case {
    std::string_view bytes;
    bool has_meta;
    bool done;
    std::uint32_t flags;
  };
  for (const Case& c :
       {Case{"HD f7\r\nDELETED\r\n", true, true, 7}, Case{"EN\r\nNOT_FOUND\r\n", true, false, 0},
        Case{"EN\r\nDELETED\r\n", true, true, 0},
        Case{"VALUE k 9 3\r\nabc\r\nEND\r\nDELETED\r\n", false, true, 9},
        Case{"END\r\nNOT_FOUND\r\n", false, false, 0}}) {
    for (std::size_t slice = 1; slice <= c.bytes.size(); ++slice) {
      EraseAnswer answer(Look::at_flags, c.has_meta);
      std::vector<Step> steps;
      read(c.bytes, slice, c.has_meta ? Values::none : Values::plain,
           [&](const Reply& r) { steps.push_back(answer.take(r)); });
      ASSERT_FALSE(steps.empty());
      EXPECT_EQ(steps.back(), Step::done) << c.bytes;
      for (std::size_t i = 0; i + 1 < steps.size(); ++i) EXPECT_EQ(steps[i], Step::more);
      EXPECT_EQ(answer.result().done, c.done);
      EXPECT_EQ(answer.result().flags, c.flags);
    }
  }
}

TEST(MemcachedAnswer, OtherRepliesAreNoneToAnErasure) {
  EXPECT_EQ(EraseAnswer(Look::at_nothing, true).take(reply(Said::deleted)), Step::done);
  EXPECT_EQ(EraseAnswer(Look::at_nothing, true).take(reply(Said::stored)), Step::wrong);
  EXPECT_EQ(EraseAnswer(Look::at_flags, true).take(reply(Said::deleted)), Step::wrong);
  EXPECT_EQ(EraseAnswer(Look::at_flags, true).take(reply(Said::end)), Step::wrong);
  EXPECT_EQ(EraseAnswer(Look::at_flags, false).take(reply(Said::meta_miss)), Step::wrong);
  EraseAnswer answer(Look::at_flags, false);
  EXPECT_EQ(answer.take(reply(Said::value)), Step::more);
  EXPECT_EQ(answer.take(reply(Said::deleted)), Step::wrong);
}

}  // namespace
}  // namespace polycache::memcached
