// What must be survived with every server: connections that break, and replies that are late, cut
// off, wrong, large or slow.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "own_sockets.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/registry.h"
#include "server_faults.h"
#include "support/gate.h"
#include "two_policies.h"

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::SizeIs;

namespace polycache::testing {
namespace {

using Kind = BackendError::Kind;
using State = CircuitBreaker::State;

// --- 5: late ---

TEST_P(ServerFaults, ALateReplyIsNotTheAnswerToTheNextQuestion) {
  TwoPolicies store = store_at({gate_.address()}, {{"timeout", "2s"}});
  Cache& strict = store.strict();
  strict.set("a", "of a");
  strict.set("b", "of b");
  const std::size_t connections = gate_.connections_ever();
  gate_.set({.hold_replies = true}, Gate::Reach::existing);
  EXPECT_EQ(kind_of_failure([&] { strict.get("a"); }), Kind::timeout);
  EXPECT_FALSE(strict.erase("absent")) << "a new connection works at once";
  gate_.pass();  // and now the reply comes
  EXPECT_EQ(strict.get("b"), "of b");
  EXPECT_EQ(strict.get("a"), "of a");
  EXPECT_EQ(gate_.connections_ever(), connections + 1) << "the old one is not used again";
  expect_healed();
}

// --- 6: reset ---

TEST_P(ServerFaults, WhatCanBeRepeatedIsRepeatedOnceOnAFreshConnection) {
  strict_.set("k", "v");
  const std::vector<std::function<void()>> operations{
      [&] { EXPECT_EQ(strict_.get("k"), "v"); },
      [&] { EXPECT_TRUE(strict_.contains("k")); },
      [&] {
        EXPECT_EQ(strict_.get_many({"k", "l"})[0], "v");
      },
      [&] { EXPECT_TRUE(strict_.set("k", "v")); },
      [&] { EXPECT_TRUE(strict_.touch("k", 1min)); },
      [&] {
        EXPECT_TRUE(strict_.set_many(std::map<std::string, std::string>{{"k", "v"}}).empty());
      },
      [&] {
        EXPECT_TRUE(
            strict_.set_many(std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}}).empty());
      },
  };
  const auto expect_repetition = [&](const Gate::Faults& faults,
                                     const std::function<void()>& operation) {
    const std::size_t connections = gate_.connections_ever();
    gate_.set(faults, Gate::Reach::existing);
    EXPECT_NO_THROW(operation());
    EXPECT_EQ(gate_.connections_ever(), connections + 1);
  };
  for (const Gate::Faults& faults :
       {Gate::Faults{.reset_on_request = true}, Gate::Faults{.truncate_after = 1},
        Gate::Faults{.reset_after = 1}}) {
    for (const auto& operation : operations) expect_repetition(faults, operation);
  }
  expect_repetition({.reset_on_request = true}, [&] { EXPECT_TRUE(strict_.erase("k")); });
  gate_.set({.reset_on_request = true});
  const std::size_t connections = gate_.connections_ever();
  EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::unreachable);
  EXPECT_EQ(gate_.connections_ever(), connections + 1) << "once, and no more";
  heal();
  expect_healed();
}

// Whether there was an entry is a claim: of several who erase it, one may go on.
TEST_P(ServerFaults, AnErasureNeverSaysFalseForAnEntryThatItRemoved) {
  strict_.set("k", "v");
  const std::size_t connections = gate_.connections_ever();
  gate_.set({.reset_on_request = true}, Gate::Reach::existing);
  EXPECT_TRUE(strict_.erase("k")) << "the first request did not arrive";
  EXPECT_EQ(gate_.connections_ever(), connections + 1);
  for (const Gate::Faults& faults :
       {Gate::Faults{.truncate_after = 1}, Gate::Faults{.reset_after = 1}}) {
    strict_.set("k", "v");
    gate_.set(faults, Gate::Reach::existing);
    const auto error = failure_of([&] { strict_.erase("k"); });
    ASSERT_TRUE(error) << "it arrived, and the answer was lost";
    EXPECT_EQ(error->kind(), Kind::unreachable);
    EXPECT_THAT(error->what(), HasSubstr("is gone"));
    EXPECT_FALSE(strict_.contains("k"));
    strict_.set("k", "v");
    gate_.set(faults, Gate::Reach::existing);
    EXPECT_EQ(kind_of_failure([&] { strict_.touch("k", 0s); }), Kind::unreachable);
    strict_.set("k", "v");
    gate_.set(faults, Gate::Reach::existing);
    EXPECT_EQ(kind_of_failure([&] { strict_.erase_many({"k"}); }), Kind::unreachable);
    EXPECT_FALSE(strict_.contains("k"));
  }
  heal();
  expect_healed();
}

// The request arrives, and only the reply is lost.
TEST_P(ServerFaults, WhatMustNotHappenTwiceIsNotRepeated) {
  strict_.set("n", 1);
  for (const Gate::Faults& faults :
       {Gate::Faults{.truncate_after = 0}, Gate::Faults{.reset_after = 1}}) {
    const std::size_t connections = gate_.connections_ever();
    const std::int64_t before = kind_.values_stored(*server_);
    gate_.set(faults, Gate::Reach::existing);
    EXPECT_EQ(kind_of_failure([&] { strict_.add("new", 1); }), Kind::unreachable);
    EXPECT_EQ(gate_.connections_ever(), connections);
    EXPECT_EQ(kind_.values_stored(*server_), before + 1);
    EXPECT_FALSE(strict_.add("new", 2)) << "the first one took effect, and no call denies it";
    EXPECT_EQ(strict_.get<int>("new"), 1);
    EXPECT_TRUE(strict_.erase("new"));
  }
  heal();
  expect_healed();
}

// --- 7: half open ---

TEST_P(ServerFaults, AnIdlePeerThatVanishesIsDetectedByKeepalive) {
  EXPECT_FALSE(strict_.get("k"));
  const std::vector<int> sockets = own_sockets_to(gate_.port());
  ASSERT_THAT(sockets, SizeIs(1));
  EXPECT_EQ(socket_option(sockets[0], SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(socket_option(sockets[0], IPPROTO_TCP, TCP_KEEPIDLE), 30);
  EXPECT_EQ(socket_option(sockets[0], IPPROTO_TCP, TCP_KEEPINTVL), 10);
  EXPECT_EQ(socket_option(sockets[0], IPPROTO_TCP, TCP_KEEPCNT), 3);
}

// --- 8, 9: in slices, and cut off ---

TEST_P(ServerFaults, RepliesInSlicesAreTheSameReplies) {
  const std::string value(3000, 'v');
  gate_.set({.slice = 0us});
  for (Cache* const cache : {&open_, &strict_}) {
    EXPECT_TRUE(cache->set("k", value));
    EXPECT_EQ(cache->get("k"), value);
    EXPECT_EQ(cache->get_many({"k", "absent", "k"})[2], value);
    std::map<std::string, std::string> many;
    for (int i = 0; i < 20; ++i) many["key" + std::to_string(i)] = "value" + std::to_string(i);
    EXPECT_TRUE(cache->set_many(many).empty());
    EXPECT_EQ(cache->get_many({"key3", "none", "key19"})[2], "value19");
    expect_full_service(*cache);
  }
  gate_.pass();
  expect_healed();
}

TEST_P(ServerFaults, ATruncatedReplyIsNoValue) {
  const std::string value = "0123456789";
  strict_.set("k", value, never);
  const std::size_t size = kind_.reply_to_get(":1:k", value).size();
  for (std::size_t cut = 0; cut < size; ++cut) {
    SCOPED_TRACE(cut);
    // The greeting passes, because the connection is there.
    const std::size_t connections = gate_.connections_ever();
    gate_.set({.truncate_after = cut}, Gate::Reach::existing);
    EXPECT_EQ(strict_.get("k"), value) << "once more, on a fresh connection";
    EXPECT_EQ(gate_.connections_ever(), connections + 1);
    gate_.reset_connections();
    EXPECT_EQ(open_.get_or_set("k", [] { return std::string("computed"); }), value);
    heal();
    EXPECT_EQ(strict_.get("k"), value);
    // Nor is it one the second time.
    gate_.set({.truncate_after = cut});
    EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::unreachable);
    EXPECT_FALSE(open_.get("k"));
    heal();
    EXPECT_EQ(open_.get("k"), value);
    EXPECT_EQ(strict_.get("k"), value);
  }
  expect_healed();
}

// --- 10: nonsense ---

TEST_P(ServerFaults, NonsenseIsATypedErrorAndTheEndOfTheConnection) {
  const auto most_memory = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // KiB
  };
  strict_.set("k", "v", never);
  EXPECT_EQ(open_.get("k"), "v");
  const long before = most_memory();
  for (const std::string& reply : kind_.nonsense()) {
    SCOPED_TRACE(reply.substr(0, 40));
    const std::size_t connections = gate_.connections_ever();
    gate_.set({.replacement = reply}, Gate::Reach::existing);
    EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::protocol);
    EXPECT_EQ(strict_.get("k"), "v") << "on a fresh connection";
    EXPECT_EQ(gate_.connections_ever(), connections + 1);
    EXPECT_FALSE(open_.get("k"));
    heal();
    EXPECT_EQ(open_.get("k"), "v");
    EXPECT_EQ(strict_.get("k"), "v");
  }
  EXPECT_LT(most_memory() - before, 64 * 1024);
  expect_healed();
}

TEST_P(ServerFaults, FlippedBitsOfRepliesAreNeverAnotherValue) {
  const std::string value(500, 'v');
  strict_.set("k", value);
  for (const std::size_t from : {0U, 3U, 8U, 15U, 20U}) {
    gate_.set({.rewrite = flip_bytes(from, 7)}, Gate::Reach::existing);
    EXPECT_FALSE(open_.get_many({"k", "l"})[1]);
    std::optional<std::string> got;
    const auto error = failure_of([&] { got = strict_.get("k"); });
    // Replies have no checksum: bits of the value itself are the network's business.
    EXPECT_TRUE(error || !got || got->size() == value.size()) << from;
    heal();
  }
  expect_healed();
}

// --- 11: throttled, large ---

TEST_P(ServerFaults, ALargeValueOnASlowLineEndsWithTheLimit) {
  TwoPolicies store = store_at({gate_.address()}, {{"timeout", "500ms"}});
  const std::string value(kind_.large_value, 'v');
  ASSERT_TRUE(strict_.set("k", value, never));
  EXPECT_TRUE(serves_soon(store));
  gate_.set({.bytes_per_second = value.size() / 20});
  const auto get = [&] { store.strict().get("k"); };
  EXPECT_LT(time_of([&] { EXPECT_EQ(kind_of_failure(get), Kind::timeout); }), time_limit)
      << "20 seconds' worth of data";
  heal();
  EXPECT_EQ(strict_.get("k"), value);
  EXPECT_TRUE(serves_soon(store));
  gate_.set({.bytes_per_second = value.size() / 20});
  const auto set = [&] { store.strict().set("k", value); };
  EXPECT_LT(time_of([&] { EXPECT_EQ(kind_of_failure(set), Kind::timeout); }), time_limit)
      << "20 seconds' worth of data";
  heal();
  EXPECT_TRUE(serves_soon(store));
  expect_healed();
}

TEST_P(ServerFaults, ABulkThatIsTooSlowEndsAtItsLimit) {
  TwoPolicies store = store_at({gate_.address()}, {{"timeout", "500ms"}});
  std::map<std::string, std::string> many;
  std::vector<std::string> keys;
  for (int i = 0; i < 300; ++i) {
    keys.push_back("key" + std::to_string(i));
    many[keys.back()] = std::string(1000, 'v');
  }
  ASSERT_TRUE(strict_.set_many(many, never).empty());
  EXPECT_TRUE(serves_soon(store));
  gate_.set({.bytes_per_second = 10'000});
  const auto get = [&] { store.strict().get_many(keys); };
  EXPECT_LT(time_of([&] { EXPECT_EQ(kind_of_failure(get), Kind::timeout); }), time_limit)
      << "30 seconds' worth of data";
  heal();
  EXPECT_EQ(strict_.get_many(keys)[299]->size(), 1000U);
  expect_healed();
}

// Another client wrote it, or the limit was lowered: the server did nothing wrong.
TEST_P(ServerFaults, ValuesOverTheLimitLeaveTheServerInUse) {
  TwoPolicies small = store_at({gate_.address()}, {{"max_value_bytes", std::string("1KiB")}});
  ASSERT_TRUE(strict_.set("big", std::string(100'000, 'b')));
  ASSERT_TRUE(strict_.set("slightly", std::string(2000, 'b')));
  ASSERT_TRUE(strict_.set("small", "s"));
  ASSERT_THAT(*strict_.get("big"), SizeIs(100'000));
  for (int i = 0; i < 20; ++i) {
    for (const char* const key : {"big", "slightly"}) {
      EXPECT_EQ(kind_of_failure([&] { small.strict().get(key); }), Kind::protocol);
      EXPECT_FALSE(small.open().get(key));
      EXPECT_FALSE(small.open().get_many({key, "small"})[0]);
    }
  }
  for (const char* const alias : {"open", "strict"}) {
    EXPECT_EQ(small.health(alias).breaker, State::closed);
  }
  EXPECT_THAT(small.warnings(Warning::Kind::breaker_opened), IsEmpty());
  EXPECT_EQ(small.open().get("small"), "s");
  EXPECT_TRUE(small.open().set("big", "b"));
  EXPECT_EQ(small.strict().get("big"), "b");
  expect_full_service(small);
}

TEST_P(ServerFaults, AValueOverTheLimitIsRefusedBeforeItIsRead) {
  TwoPolicies small = store_at({gate_.address()}, {{"max_value_bytes", std::string("100KiB")}});
  ASSERT_TRUE(strict_.set("big", std::string(900'000, 'b')));
  ASSERT_TRUE(small.strict().set("small", std::string(90'000, 's')));
  gate_.set({.bytes_per_second = 1'000'000});
  const std::size_t passed = gate_.bytes_to_client();
  EXPECT_EQ(kind_of_failure([&] { small.strict().get("big"); }), Kind::protocol);
  EXPECT_LT(gate_.bytes_to_client() - passed, 800'000U);
  EXPECT_FALSE(small.open().get("big"));
  EXPECT_EQ(small.strict().get("small")->size(), 90'000U);
  EXPECT_FALSE(small.open().set("big", std::string(200'000, 'b')));
  EXPECT_THAT(small.warnings(Warning::Kind::value_refused),
              ElementsAre(HasSubstr(kind_.too_large)));
  heal();
  EXPECT_FALSE(small.open().get("big")) << "the older value is gone";
  expect_healed();
}

// Each byte comes in time, all of them would not.
TEST_P(ServerFaults, AReplyThatDribblesEndsAtItsLimit) {
  TwoPolicies store = store_at({gate_.address()}, {{"timeout", "500ms"}});
  const std::map<std::string, std::string> many{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}};
  ASSERT_TRUE(strict_.set("k", std::string(100, 'v'), never));
  ASSERT_TRUE(strict_.set_many(many, never).empty());
  Cache& strict = store.strict();
  const std::vector<std::function<void()>> operations{
      [&] { strict.get("k"); },
      [&] { strict.touch("k", 1min); },
      [&] {
        strict.get_many({"a", "b", "c", "d"});
      },
      [&] { strict.set_many(many, never); },
      [&] { strict.add("k", 1); },
      [&] { strict.erase("k"); },
  };
  for (const auto& operation : operations) {
    EXPECT_TRUE(serves_soon(store));
    gate_.set({.slice = 450ms}, Gate::Reach::existing);
    const auto time = time_of([&] { EXPECT_EQ(kind_of_failure(operation), Kind::timeout); });
    EXPECT_THAT(time, AllOf(Ge(operation_timeout - 10ms), Lt(operation_timeout + 6s)));
    heal();
    EXPECT_TRUE(serves_soon(store)) << "on a fresh connection";
    EXPECT_EQ(strict_.get("a"), "1");
  }
  expect_healed();
}

}  // namespace
}  // namespace polycache::testing
