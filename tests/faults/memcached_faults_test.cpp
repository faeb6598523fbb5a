// What must be survived with memcached: through a registry, against real servers, with a gate
// in between that does harm.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fork_while_connecting.h"
#include "no_system_calls.h"
#include "over_tls.h"
#include "own_sockets.h"
#include "polycache/author/extension.h"
#include "polycache/backends/memcached.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/registry.h"
#include "polycache/testing/manual_clock.h"
#include "support/gate.h"
#include "support/server.h"
#include "two_policies.h"

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Lt;
using ::testing::Not;
using ::testing::SizeIs;

namespace polycache {
namespace {

using Kind = BackendError::Kind;
using State = CircuitBreaker::State;
using testing::failure_of;
using testing::Gate;
using testing::kind_of_failure;
using testing::ManualClock;
using testing::Server;
using testing::soon;
using testing::time_of;
using Steady = std::chrono::steady_clock;

constexpr auto operation_timeout = 1000ms;
// An operation's limit, and what a machine may need that has other things to do.
constexpr auto time_limit = operation_timeout + 10s;

// Longer than any pause of a breaker or between connections, jitter included.
constexpr auto long_pause = 40s;

class Store : public testing::TwoPolicies {
 public:
  explicit Store(std::vector<std::string> location, OptionMap options = {},
                 const Clock& clock = Clock::real())
      : TwoPolicies(memcached::plugin, testing::as_run("tls://", std::move(location)),
                    testing::as_run(std::move(options)), "1s", clock) {}
};

void expect_full_service(Cache& cache) {
  EXPECT_TRUE(cache.set("full", "service"));
  EXPECT_EQ(cache.get("full"), "service");
  EXPECT_TRUE(cache.touch("full", 1min));
  EXPECT_TRUE(cache.erase("full"));
  EXPECT_TRUE(cache.add("full", 1));
  EXPECT_EQ(cache.incr("full"), 2);
  EXPECT_TRUE(cache.set_many(std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}}).empty());
  EXPECT_EQ(cache.get_many({"a", "b"})[1], "2");
  EXPECT_EQ(cache.erase_many({"a", "b", "full"}), 3U);
}

// A connection of the test's own.
class Connected {
 public:
  explicit Connected(std::uint16_t port)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      ::close(std::exchange(socket_, -1));
    }
  }
  Connected(const Connected&) = delete;
  Connected& operator=(const Connected&) = delete;
  ~Connected() { ::close(socket_); }

  // What is said up to `end`, or to the end.
  std::string ask(std::string_view question, std::string_view end) const {
    ::send(socket_, question.data(), question.size(), MSG_NOSIGNAL);
    std::string text;
    std::array<char, 4096> bytes;
    while (text.find(end) == std::string::npos) {
      const ssize_t got = ::recv(socket_, bytes.data(), bytes.size(), 0);
      if (got <= 0) break;
      text.append(bytes.data(), static_cast<std::size_t>(got));
    }
    return text;
  }

 private:
  int socket_;
};

// A number that memcached says of itself.
std::int64_t statistic(const Server& server, std::string_view name) {
  const std::string text = Connected(server.port()).ask("stats\r\n", "END\r\n");
  const std::string line = "STAT " + std::string(name) + " ";
  const std::size_t at = text.find(line);
  return at == std::string::npos ? -1 : std::atoll(text.c_str() + at + line.size());
}

// A server behind a gate; time stands still but for waiting for the server.
class MemcachedFaults : public ::testing::Test {
 protected:
  // Whatever pauses there are, they are over.
  void heal() {
    gate_.pass();
    clock_.advance(long_pause);
  }
  void expect_healed() {
    expect_full_service(store_.open());
    expect_full_service(store_.strict());
  }

  testing::Service service_ = testing::Service::memcached();
  std::unique_ptr<Server>& server_ = service_.server;
  Gate gate_{service_.port};
  ManualClock clock_;
  Store store_{{gate_.address()}, {}, clock_};
  Cache& open_ = store_.open();
  Cache& strict_ = store_.strict();
};

// --- 1: not there at the start ---

TEST_F(MemcachedFaults, AServerThatIsNotThereAtTheStartCostsMisses) {
  server_->kill9();
  Store store({server_->address()}, {}, clock_);
  const auto time = time_of([&] {
    EXPECT_FALSE(store.open().get("k"));
    EXPECT_FALSE(store.open().set("k", 1));
    EXPECT_EQ(store.open().get_or_set("k", [] { return 3; }), 3);
  });
  EXPECT_LT(time, time_limit);
  EXPECT_EQ(kind_of_failure([&] { store.open().erase("k"); }), Kind::unreachable);
  const auto error = failure_of([&] { store.strict().get("k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::unreachable);
  EXPECT_EQ(error->server(), server_->address());

  server_->start();
  clock_.advance(long_pause);
  expect_full_service(store.open());
  expect_full_service(store.strict());
}

// --- 2, 3: dies, and comes back ---

TEST_F(MemcachedFaults, ADeadServerIsNotCalledUntilItRecovers) {
  expect_healed();
  server_->kill9();
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(open_.get("k"));
    EXPECT_TRUE(failure_of([&] { strict_.get("k"); }));
    clock_.advance(1500ms);  // beyond the pause between connections
  }
  EXPECT_EQ(store_.health("open").breaker, State::open);
  EXPECT_THAT(store_.warnings(Warning::Kind::breaker_opened),
              ElementsAre(HasSubstr(gate_.address()), HasSubstr(gate_.address())));
  clock_.advance(long_pause);  // the probe
  EXPECT_FALSE(open_.get("k"));
  EXPECT_TRUE(failure_of([&] { strict_.get("k"); }));

  const std::size_t connections = gate_.connections_ever();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(open_.get("k"));
    EXPECT_FALSE(open_.set("k", 1));
  }
  const auto error = failure_of([&] { strict_.get("k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::unreachable);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("next attempt in"), HasSubstr("no connection")));
  EXPECT_TRUE(failure_of([&] { open_.erase("k"); })) << "an erasure is not lost in silence";
  EXPECT_EQ(gate_.connections_ever(), connections) << "not called";

  server_->start();
  clock_.advance(long_pause);
  expect_healed();
  EXPECT_EQ(store_.health("open").breaker, State::closed);
  EXPECT_THAT(store_.warnings(Warning::Kind::breaker_closed),
              ElementsAre(HasSubstr(gate_.address()), HasSubstr(gate_.address())));
}

// Neither before a breaker opens, while no connection to the other one is tried.
TEST_F(MemcachedFaults, OneServersSuccessIsNoRecoveryOfAnother) {
  const auto other = Server::memcached();
  other->kill9();
  Store store({gate_.address(), other->address()}, {}, clock_);
  const auto hits = [&] {
    int found = 0;
    for (int i = 0; i < 20; ++i) {
      const std::string key = "key" + std::to_string(i);
      found += store.open().set(key, i) && store.open().get<int>(key) == i ? 1 : 0;
    }
    return found;
  };
  const int of_one = hits();
  EXPECT_GT(of_one, 0);
  EXPECT_LT(of_one, 20);
  EXPECT_EQ(store.health("open").breaker, State::closed);
  EXPECT_THAT(store.warnings(Warning::Kind::degraded), SizeIs(1));
  EXPECT_THAT(store.warnings(Warning::Kind::recovered), IsEmpty());

  other->start();
  clock_.advance(long_pause);
  EXPECT_EQ(hits(), 20);
  EXPECT_THAT(store.warnings(Warning::Kind::recovered), SizeIs(1));
}

TEST_F(MemcachedFaults, HealthIsCheckedWhateverTheBreakerState) {
  EXPECT_TRUE(store_.health("open").reachable);
  server_->kill9();
  for (int i = 0; i < 6; ++i) {  // the last one is a failing probe
    clock_.advance(1500ms);
    EXPECT_FALSE(open_.get("k"));
  }
  CacheHealth health = store_.health("open");
  EXPECT_FALSE(health.reachable);
  ASSERT_EQ(health.servers.size(), 1U);
  EXPECT_EQ(health.servers[0].name, gate_.address());
  EXPECT_EQ(health.servers[0].breaker, State::open);
  EXPECT_THAT(health.servers[0].error, HasSubstr("no connection"));

  server_->start();
  health = store_.health("open");
  EXPECT_TRUE(health.reachable);
  EXPECT_GT(health.servers[0].round_trip.count(), 0);
  EXPECT_EQ(health.servers[0].breaker, State::open) << "asking changes nothing";
  EXPECT_FALSE(open_.set("k", 1));
  clock_.advance(long_pause);
  expect_healed();
}

// On the machine's clock: how long it takes from "server back" to "full service".
TEST_F(MemcachedFaults, FullServiceSoonAfterTheServerIsBack) {
  Store store({server_->address()});
  std::atomic<bool> ending{false};
  std::atomic<int> hits{0};
  std::atomic<std::chrono::milliseconds::rep> longest{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const std::string key = "k" + std::to_string(i);
      while (!ending) {
        const auto time = time_of([&] {
          if (store.open().set(key, i) && store.open().get<int>(key) == i) ++hits;
        });
        longest = std::max<std::chrono::milliseconds::rep>(longest, time.count());
        std::this_thread::sleep_for(1ms);
      }
    });
  }
  EXPECT_TRUE(soon([&] { return hits > 100; }));
  server_->kill9();
  EXPECT_TRUE(soon([&] { return store.health("open").breaker == State::open; }));
  server_->start();
  const auto back = Steady::now();
  hits = 0;
  EXPECT_TRUE(soon([&] { return hits > 0; }));
  const auto first = std::chrono::ceil<std::chrono::milliseconds>(Steady::now() - back);
  expect_full_service(store.open());
  EXPECT_TRUE(soon([&] { return hits > 100; }));
  ending = true;
  for (std::thread& thread : threads) thread.join();
  std::cout << "memcached: from \"server back\" to full service: " << first.count()
            << " ms; longest call: " << longest << " ms\n";
  EXPECT_LT(longest.load(), std::chrono::milliseconds(2 * time_limit).count());
}

// --- 4: hung ---

TEST_F(MemcachedFaults, AServerThatHangsCostsOneTimeLimit) {
  expect_healed();
  server_->suspend();
  const std::vector<std::function<void()>> operations{
      [&] { strict_.get("k"); },
      [&] { strict_.set("k", 1); },
      [&] {
        strict_.get_many({"a", "b", "c"});
      },
      [&] {
        strict_.set_many(std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}});
      },
      [&] { strict_.erase("k"); },
  };
  for (const auto& operation : operations) {
    const auto time = time_of([&] { EXPECT_EQ(kind_of_failure(operation), Kind::timeout); });
    EXPECT_THAT(time, AllOf(Ge(operation_timeout - 10ms), Lt(time_limit)));
    clock_.advance(1500ms);
  }
  EXPECT_THAT(store_.warnings(Warning::Kind::breaker_opened), ElementsAre(HasSubstr("1000 ms")));
  EXPECT_FALSE(open_.get("k"));
  server_->resume();
  heal();
  expect_healed();
}

TEST_F(MemcachedFaults, AGetOrSetOnAServerThatHangsWaitsOnce) {
  Store store({gate_.address()}, {{"timeout", "300ms"}}, clock_);
  const auto serves = [&] {
    clock_.advance(long_pause);  // the first connection may take longer than the limit
    return store.open().set("full", 1) && store.open().get("full");
  };
  EXPECT_TRUE(soon(serves));
  const std::size_t connections = gate_.connections_ever();
  gate_.set({.hang = true});
  EXPECT_EQ(store.open().get_or_set("k", [] { return 7; }), 7);
  EXPECT_EQ(gate_.connections_ever(), connections) << "a second step would have connected anew";
  heal();
  EXPECT_TRUE(soon(serves));
  EXPECT_EQ(store.open().get_or_set("k", [] { return 8; }), 8) << "the 7 was not stored";
}

// --- 5: late ---

TEST_F(MemcachedFaults, ALateReplyIsNotTheAnswerToTheNextQuestion) {
  strict_.set("a", "of a");
  strict_.set("b", "of b");
  const std::size_t connections = gate_.connections_ever();
  gate_.set({.hold_replies = true}, Gate::Reach::existing);
  EXPECT_EQ(kind_of_failure([&] { strict_.get("a"); }), Kind::timeout);
  EXPECT_TRUE(failure_of([&] { strict_.erase("absent"); }).has_value() == false)
      << "a new connection works at once";
  gate_.pass();  // and now the reply comes
  EXPECT_EQ(strict_.get("b"), "of b");
  EXPECT_EQ(strict_.get("a"), "of a");
  EXPECT_GT(gate_.connections_ever(), connections) << "the old connection is not used again";
  heal();
  expect_healed();
}

// --- 6: reset ---

TEST_F(MemcachedFaults, WhatCanBeRepeatedIsRepeatedOnceOnAFreshConnection) {
  strict_.set("k", "v");
  const std::vector<std::function<void()>> operations{
      [&] { EXPECT_EQ(strict_.get("k"), "v"); },
      [&] { EXPECT_TRUE(strict_.set("k", "v")); },
      [&] { EXPECT_TRUE(strict_.contains("k")); },
      [&] { EXPECT_TRUE(strict_.touch("k", 1min)); },
      [&] {
        EXPECT_EQ(strict_.get_many({"k", "l"})[0], "v");
      },
      [&] {
        EXPECT_TRUE(
            strict_.set_many(std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}}).empty());
      },
      [&] { EXPECT_TRUE(strict_.erase("k")); },
  };
  for (const auto& operation : operations) {
    const std::size_t connections = gate_.connections_ever();
    gate_.set({.reset_on_request = true}, Gate::Reach::existing);
    EXPECT_NO_THROW(operation());
    EXPECT_EQ(gate_.connections_ever(), connections + 1);
  }
  gate_.set({.reset_on_request = true});
  const std::size_t connections = gate_.connections_ever();
  EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::unreachable);
  EXPECT_EQ(gate_.connections_ever(), connections + 1) << "once";
  heal();
  expect_healed();
}

// Whether there was an entry is a claim: of several who erase it, one may go on.
TEST_F(MemcachedFaults, AnErasureNeverSaysFalseForAnEntryThatItRemoved) {
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

// One by one they would need ten times as long as an operation may take.
TEST_F(MemcachedFaults, ManyAreErasedOnADistantServerWithinOneLimit) {
  Store store({gate_.address()}, {{"timeout", "10s"}, {"max_value_bytes", "1KiB"}});
  std::map<std::string, std::string> items;
  std::vector<std::string> keys;
  for (int i = 0; i < 1000; ++i) {
    keys.push_back("k" + std::to_string(i));
    items[keys.back()] = "v";
  }
  EXPECT_THAT(store.strict().set_many(items), IsEmpty());
  gate_.set({.delay = 100ms});
  for (auto& item : items) item.second = std::string(2000, 'v');
  EXPECT_THAT(store.strict().set_many(items), SizeIs(1000));
  EXPECT_FALSE(store.strict().contains("k999")) << "what was refused left no older value";
  for (auto& item : items) item.second = "v";
  EXPECT_THAT(store.strict().set_many(items), IsEmpty());
  EXPECT_EQ(store.strict().erase_many(keys), 1000U);
  heal();
  expect_healed();
}

// What memcached makes of "10" that is counted down is "9 ".
TEST_F(MemcachedFaults, ANumberThatAnotherClientCountedDownIsThatNumber) {
  const Connected other(server_->port());
  const auto count_down = [&] {
    strict_.set("n", 10);
    EXPECT_EQ(other.ask("decr :1:n 1\r\n", "\r\n"), "9\r\n");
  };
  count_down();
  EXPECT_EQ(strict_.get<int>("n"), 9);
  EXPECT_EQ(strict_.get<double>("n"), 9.0);
  EXPECT_EQ(strict_.get_many<int>({"n", "absent"})[0], 9);
  EXPECT_EQ(strict_.get_or_set<int>("n", [] { return 1; }), 9);
  EXPECT_EQ(strict_.get("n"), "9 ") << "text is what is there";
  std::string seen;
  EXPECT_TRUE(strict_.visit("n", [&](std::string_view bytes) { seen = bytes; }));
  EXPECT_EQ(seen, "9 ");
  EXPECT_TRUE(strict_.contains("n"));
  EXPECT_FALSE(strict_.add("n", 1));
  EXPECT_EQ(strict_.decr("n"), 8);
  EXPECT_EQ(strict_.get("n"), "8");
  count_down();
  EXPECT_EQ(strict_.incr("n"), 10);
  count_down();
  EXPECT_EQ(strict_.incr_version("n"), 2);
  EXPECT_EQ(strict_.get<int>("n", {.version = 2}), 9);
  count_down();
  EXPECT_EQ(strict_.pop<int>("n"), 9);
  EXPECT_FALSE(strict_.contains("n"));
  EXPECT_THAT(store_.warnings(Warning::Kind::undecodable_value), IsEmpty());
  // Nothing else is taken for a number.
  for (const char* const text : {" 9", "9 9", "-9 ", "9 x", " ", "x ", "9\n"}) {
    strict_.set("n", text);
    EXPECT_FALSE(strict_.get<int>("n")) << text;
    EXPECT_THROW(strict_.incr("n"), ValueError) << text;
    EXPECT_EQ(strict_.get("n"), text);
  }
  expect_healed();
}

TEST_F(MemcachedFaults, WhatMustNotHappenTwiceIsNotRepeated) {
  strict_.set("n", 1);
  const auto sent = [&] {
    return statistic(*server_, "cmd_set") + statistic(*server_, "cas_hits");
  };
  // The request arrives, the reply does not.
  const std::int64_t before = sent();
  gate_.set({.truncate_after = 0}, Gate::Reach::existing);
  EXPECT_EQ(kind_of_failure([&] { strict_.add("new", 1); }), Kind::unreachable);
  EXPECT_EQ(sent(), before + 1);
  EXPECT_FALSE(strict_.add("new", 2)) << "the first one had arrived";
  EXPECT_EQ(strict_.get<int>("new"), 1);
  heal();
  expect_healed();
}

// --- 7: half-open ---

TEST_F(MemcachedFaults, APeerThatVanishedIsNoticedByTheTimeLimit) {
  expect_healed();
  gate_.set({.vanish = true}, Gate::Reach::existing);
  const auto time =
      time_of([&] { EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::timeout); });
  EXPECT_LT(time, time_limit);
  EXPECT_FALSE(open_.get("k"));
  expect_healed();  // new connections work
}

TEST_F(MemcachedFaults, AnIdlePeerThatVanishesIsDetectedByKeepalive) {
  EXPECT_FALSE(strict_.get("k"));
  const std::vector<int> sockets = testing::own_sockets_to(gate_.port());
  ASSERT_THAT(sockets, SizeIs(1));
  EXPECT_EQ(testing::socket_option(sockets[0], SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(testing::socket_option(sockets[0], IPPROTO_TCP, TCP_KEEPIDLE), 30);
}

TEST_F(MemcachedFaults, AServerThatAcceptsNoConnectionIsUnreachable) {
  gate_.ignore_connects();
  const auto time = time_of([&] { EXPECT_TRUE(failure_of([&] { strict_.get("k"); })); });
  EXPECT_LT(time, time_limit);
  EXPECT_FALSE(open_.get("k"));
  heal();
  expect_healed();
}

// --- 8, 9: slices, and less than that ---

TEST_F(MemcachedFaults, RepliesInSlicesAreTheSameReplies) {
  const std::string value(3000, 'v');
  gate_.set({.slice = 0us});
  for (Cache* const cache : {&open_, &strict_}) {
    EXPECT_TRUE(cache->set("k", value));
    EXPECT_EQ(cache->get("k"), value);
    std::map<std::string, std::string> many;
    for (int i = 0; i < 20; ++i) many["key" + std::to_string(i)] = "value" + std::to_string(i);
    EXPECT_TRUE(cache->set_many(many).empty());
    EXPECT_EQ(cache->get_many({"key3", "none", "key19"})[2], "value19");
    expect_full_service(*cache);
  }
  heal();
  expect_healed();
}

TEST_F(MemcachedFaults, ATruncatedReplyIsNoValue) {
  strict_.set("k", "0123456789", never);
  const std::size_t size = std::string("VALUE :1:k 4294967295 10\r\n0123456789\r\nEND\r\n").size();
  for (std::size_t cut = 0; cut + 1 < size; cut += 3) {
    // The greeting passes: it is shorter than that, or the connection is there.
    gate_.set({.truncate_after = cut}, Gate::Reach::existing);
    std::optional<std::string> value;
    const auto error = failure_of([&] { value = strict_.get("k"); });
    EXPECT_TRUE(error || value == "0123456789") << cut << " " << value.value_or("a miss");
    gate_.reset_connections();
    EXPECT_EQ(open_.get_or_set("k", [] { return std::string("computed"); }), "0123456789");
    heal();
  }
  expect_healed();
}

// --- 10: nonsense ---

TEST_F(MemcachedFaults, NonsenseIsATypedErrorAndTheEndOfTheConnection) {
  strict_.set("k", "v", never);
  for (const std::string& reply :
       {std::string("nonsense\r\n"), std::string(100'000, 'z'), std::string("\0\0\0\0\r\n", 6),
        std::string("VALUE :1:k 0 99999999999\r\n"),
        std::string("VALUE :1:k 0 18446744073709551615\r\nxxxx\r\nEND\r\n"),
        std::string("VALUE :1:other 0 1\r\nx\r\nEND\r\n"), std::string("ERROR\r\n")}) {
    const std::size_t connections = gate_.connections_ever();
    gate_.set({.replacement = reply}, Gate::Reach::existing);
    EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::protocol) << reply.substr(0, 40);
    EXPECT_EQ(strict_.get("k"), "v");
    EXPECT_EQ(gate_.connections_ever(), connections + 1);
    heal();
  }
  for (const std::string& reply :
       {std::string("nonsense\r\n"), std::string(100'000, 'z'), std::string("\0\0\0\0\r\n", 6),
        std::string("VALUE :1:k 0 99999999999\r\n"),
        "VALUE " + std::string(400, 'k') + " 0 1\r\nx\r\n"}) {
    gate_.set({.replacement = reply}, Gate::Reach::existing);
    EXPECT_EQ(kind_of_failure([&] { strict_.set("k", "w"); }), Kind::protocol)
        << reply.substr(0, 40);
    gate_.set({.replacement = reply}, Gate::Reach::existing);
    EXPECT_NO_THROW(strict_.get("l")) << "on a fresh connection";
    heal();
  }
  // Replies of other commands, which would be honest ones elsewhere.
  const std::vector<std::function<void()>> writes{
      [&] { strict_.set("k", "w"); }, [&] { strict_.add("new", "w"); },
      [&] { strict_.touch("k", 1min); }, [&] { strict_.erase("k"); }, [&] { strict_.clear(); }};
  for (const char* const reply :
       {"END\r\nEND\r\n", "17\r\n", "STAT pid 1\r\nEND\r\n", "VALUE :1:x 0 1\r\nx\r\nEND\r\n"}) {
    for (const auto& write : writes) {
      const std::size_t connections = gate_.connections_ever();
      gate_.set({.replacement = reply}, Gate::Reach::existing);
      EXPECT_EQ(kind_of_failure(write), Kind::protocol) << reply;
      EXPECT_NO_THROW(strict_.get("l"));
      EXPECT_EQ(gate_.connections_ever(), connections + 1) << reply;
      heal();
    }
  }
  heal();
  expect_healed();
}

TEST_F(MemcachedFaults, FlippedBitsOfRepliesAreNeverAnotherValue) {
  const std::string value(500, 'v');
  strict_.set("k", value);
  for (const std::size_t from : {0U, 3U, 8U, 15U, 20U}) {
    gate_.set({.rewrite = testing::flip_bytes(from, 7)}, Gate::Reach::existing);
    EXPECT_FALSE(open_.get_many({"k", "l"})[1]);
    std::optional<std::string> got;
    const auto error = failure_of([&] { got = strict_.get("k"); });
    // memcached has no checksum: bits of the value itself are the network's business.
    EXPECT_TRUE(error || !got || got->size() == value.size()) << from;
    heal();
  }
  expect_healed();
}

// --- 11: throttled ---

TEST_F(MemcachedFaults, AValueOverTheLimitIsRefusedBeforeItIsRead) {
  Store small({gate_.address()}, {{"max_value_bytes", std::string("100KiB")}}, clock_);
  ASSERT_TRUE(strict_.set("big", std::string(900'000, 'b')));
  ASSERT_TRUE(small.strict().set("small", std::string(90'000, 's')));
  gate_.set({.bytes_per_second = 1'000'000});
  const std::size_t passed = gate_.bytes_to_client();
  EXPECT_EQ(kind_of_failure([&] { small.strict().get("big"); }), Kind::protocol);
  EXPECT_LT(gate_.bytes_to_client() - passed, 800'000U);
  EXPECT_FALSE(small.open().get("big"));
  EXPECT_EQ(small.strict().get("small")->size(), 90'000U);
  EXPECT_FALSE(small.open().set("big", std::string(200'000, 'b')));
  EXPECT_THAT(small.warnings(Warning::Kind::value_refused), ElementsAre(HasSubstr("200000")));
  heal();
  EXPECT_FALSE(small.open().get("big")) << "the older value is gone";
  expect_healed();
}

// Another client wrote it, or the limit was lowered: the server did nothing wrong.
TEST_F(MemcachedFaults, ValuesOverTheLimitLeaveTheServerInUse) {
  Store small({gate_.address()}, {{"max_value_bytes", std::string("1KiB")}}, clock_);
  ASSERT_TRUE(strict_.set("big", std::string(2000, 'b')));
  ASSERT_TRUE(strict_.set("small", "s"));
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(small.open().get("big"));
    EXPECT_FALSE(small.open().get_many({"big", "small"})[0]);
  }
  EXPECT_EQ(small.health("open").breaker, State::closed);
  EXPECT_EQ(small.open().get("small"), "s");
  EXPECT_TRUE(small.open().set("big", "b"));
  EXPECT_EQ(small.strict().get("big"), "b");
  expect_full_service(small.strict());
}

TEST_F(MemcachedFaults, ACounterThatIsRefusedIsNotTriedAgainAndAgain) {
  Store small({gate_.address()}, {{"max_value_bytes", std::int64_t{1}}}, clock_);
  EXPECT_EQ(kind_of_failure([&] { small.strict().incr("n", 1, {.initial = 100}); }), Kind::storage);
  EXPECT_LE(small.warnings(Warning::Kind::value_refused).size(), 3U);
  EXPECT_EQ(small.strict().incr("n", 1, {.initial = 1}), 2);
}

TEST_F(MemcachedFaults, ABulkThatIsTooSlowEndsAtItsLimit) {
  std::map<std::string, std::string> many;
  std::vector<std::string> keys;
  for (int i = 0; i < 300; ++i) {
    keys.push_back("key" + std::to_string(i));
    many[keys.back()] = std::string(1000, 'v');
  }
  ASSERT_TRUE(strict_.set_many(many).empty());
  gate_.set({.bytes_per_second = 10'000});
  const auto time =
      time_of([&] { EXPECT_EQ(kind_of_failure([&] { strict_.get_many(keys); }), Kind::timeout); });
  EXPECT_LT(time, time_limit) << "30 seconds' worth of data";
  heal();
  EXPECT_EQ(strict_.get_many(keys)[299]->size(), 1000U);
  expect_healed();
}

// Each byte comes in time, all of them would not.
TEST_F(MemcachedFaults, AReplyThatDribblesEndsAtItsLimit) {
  const std::map<std::string, std::string> many{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}};
  ASSERT_TRUE(strict_.set("k", std::string(100, 'v')));
  ASSERT_TRUE(strict_.set_many(many).empty());
  const std::vector<std::function<void()>> operations{
      [&] { strict_.get("k"); },
      [&] { strict_.touch("k", 1min); },
      [&] {
        strict_.get_many({"a", "b", "c", "d"});
      },
      [&] { strict_.set_many(many); },
      [&] { strict_.add("k", 1); },
      [&] { strict_.erase("k"); },
  };
  for (const auto& operation : operations) {
    gate_.set({.slice = 900ms}, Gate::Reach::existing);
    const auto time = time_of([&] { EXPECT_EQ(kind_of_failure(operation), Kind::timeout); });
    EXPECT_THAT(time, AllOf(Ge(operation_timeout - 10ms), Lt(operation_timeout + 6s)))
        << "the shortest takes 8 s";
    heal();
    EXPECT_EQ(strict_.get("a"), "1") << "on a fresh connection";
  }
  expect_healed();
}

TEST_F(MemcachedFaults, AValueOnASlowLineEndsAtItsLimit) {
  const std::string value(900'000, 'v');
  ASSERT_TRUE(strict_.set("k", value));
  gate_.set({.bytes_per_second = 20'000}, Gate::Reach::existing);
  auto time =
      time_of([&] { EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::timeout); });
  EXPECT_LT(time, time_limit) << "45 seconds' worth of data";
  heal();
  EXPECT_EQ(strict_.get("k"), value);
  gate_.set({.bytes_per_second = 50'000}, Gate::Reach::existing);
  time =
      time_of([&] { EXPECT_EQ(kind_of_failure([&] { strict_.set("k", value); }), Kind::timeout); });
  EXPECT_LT(time, time_limit) << "18 seconds' worth of data";
  heal();
  expect_healed();
}

// --- 12: names ---

// What the name "cache.invalid" means at the moment. The store asks getaddrinfo(), and finds
// the one below.
std::mutex name_mutex;
std::optional<std::string> meaning;
std::atomic<int> lookups{0};

TEST_F(MemcachedFaults, NamesAreResolvedAnewByEachConnection) {
  const auto let_it_mean = [](std::optional<std::string> address) {
    const std::lock_guard lock(name_mutex);
    meaning = std::move(address);
  };
  let_it_mean(std::nullopt);
  Store store({"cache.invalid:" + std::to_string(gate_.port())}, {}, clock_);
  EXPECT_EQ(kind_of_failure([&] { store.strict().get("k"); }), Kind::unreachable);
  EXPECT_FALSE(store.open().get("k"));

  let_it_mean("127.0.0.1");
  clock_.advance(long_pause);
  expect_full_service(store.strict());
  const int before = lookups;
  expect_full_service(store.strict());
  EXPECT_EQ(lookups, before) << "not for each operation";
  strict_.set("moved", "no");

  // The name moves to another address, where another server listens.
  const auto other = Server::memcached({"-l", "127.0.0.2"});
  let_it_mean("127.0.0.3");
  gate_.reset_connections();
  EXPECT_EQ(kind_of_failure([&] { store.strict().get("moved"); }), Kind::unreachable)
      << "nothing listens there";
  EXPECT_GT(lookups, before);
  let_it_mean("127.0.0.1");
  clock_.advance(long_pause);
  expect_full_service(store.open());
  EXPECT_EQ(store.strict().get("moved"), "no");
}

// --- 13: too many clients ---

TEST_F(MemcachedFaults, AServerThatIsFullIsNotStormed) {
  constexpr int places = 40;
  const auto narrow = Server::memcached({"-c", std::to_string(places), "-t", "1"});
  Gate gate(narrow->port());
  Store late({gate.address()}, {}, clock_);
  {
    std::vector<std::unique_ptr<Connected>> others;
    for (int i = 0; i < places + 10; ++i) {
      others.push_back(std::make_unique<Connected>(narrow->port()));
      others.back()->ask("version\r\n", "\r\n");
    }
    const std::size_t before = gate.connections_ever();
    for (int i = 0; i < 500; ++i) EXPECT_FALSE(late.open().get("k"));
    EXPECT_LE(gate.connections_ever(), before + 2);
    EXPECT_TRUE(failure_of([&] { late.strict().get("k"); }));
  }
  EXPECT_TRUE(soon([&] {
    clock_.advance(long_pause);
    return late.open().set("k", 1);
  }));
  expect_full_service(late.open());
}

// --- 14: closed while idle ---

TEST_F(MemcachedFaults, AConnectionThatWasClosedWhileIdleIsNotNoticed) {
  expect_healed();
  const std::vector<std::function<void()>> operations{
      [&] { EXPECT_TRUE(strict_.set("k", "v")); },
      [&] { EXPECT_EQ(strict_.get("k"), "v"); },
      [&] { EXPECT_TRUE(strict_.touch("k", 1min)); },
      [&] { EXPECT_EQ(strict_.get_many({"k"})[0], "v"); },
      [&] { EXPECT_EQ(strict_.pop("k"), "v"); },
      [&] { EXPECT_THROW(strict_.incr("k"), KeyNotFound); },
      [&] { EXPECT_FALSE(strict_.erase("k")); },
  };
  for (const auto& operation : operations) {
    gate_.close_connections();
    ASSERT_TRUE(soon([&] { return gate_.connections() == 0; }));
    EXPECT_NO_THROW(operation());
  }
  EXPECT_THAT(store_.warnings(Warning::Kind::degraded), IsEmpty());
  expect_healed();
}

// What is not repeated asks first whether a connection that lay idle is still there.
TEST_F(MemcachedFaults, AnAddAfterALongPauseFindsALivingConnection) {
  expect_healed();
  gate_.close_connections();
  std::this_thread::sleep_for(1500ms);  // by the machine's clock, as for a server's idle timeout
  EXPECT_TRUE(strict_.add("new", 1));
  expect_healed();
}

TEST_F(MemcachedFaults, UnneededConnectionsAreClosed) {
  Store store({gate_.address()}, {{"idle_timeout", std::string("10s")}}, clock_);
  store.open().set("k", 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20; ++n) store.open().get("k");
    });
  }
  for (std::thread& thread : threads) thread.join();
  clock_.advance(11s);
  store.open().get("k");
  clock_.advance(5s);
  store.open().get("k");
  EXPECT_TRUE(soon([&] { return gate_.connections() == 1; })) << gate_.connections();
}

// --- 16: a wrong password ---

// Answers whether a password is right, as saslauthd does: four counted texts in, one out.
class PasswordCheck {
 public:
  explicit PasswordCheck(const std::filesystem::path& folder) : path_((folder / "mux").string()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 16) != 0) {
      throw std::runtime_error("cannot listen on " + path_);
    }
    thread_ = std::thread([this] { serve(); });
  }
  PasswordCheck(const PasswordCheck&) = delete;
  PasswordCheck& operator=(const PasswordCheck&) = delete;
  ~PasswordCheck() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

  void accept_password(std::string password) {
    const std::lock_guard lock(mutex_);
    password_ = std::move(password);
  }
  int questions() const { return questions_; }

 private:
  static std::string read_text(int connection) {
    std::array<unsigned char, 2> size{};
    if (::recv(connection, size.data(), size.size(), MSG_WAITALL) != 2) return {};
    std::string text(static_cast<std::size_t>(size[0] * 256 + size[1]), '\0');
    if (!text.empty()) ::recv(connection, text.data(), text.size(), MSG_WAITALL);
    return text;
  }
  void serve() {
    for (;;) {
      const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) return;
      read_text(connection);  // the user
      const std::string password = read_text(connection);
      read_text(connection);
      read_text(connection);
      ++questions_;
      const std::lock_guard lock(mutex_);
      const std::string answer = std::string("\0\2", 2) + (password == password_ ? "OK" : "NO");
      ::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
      ::close(connection);
    }
  }

  const std::string path_;
  int listener_ = -1;
  std::atomic<int> questions_{0};
  std::mutex mutex_;
  std::string password_ = "secret-one";
  std::thread thread_;
};

TEST_F(MemcachedFaults, AWrongPasswordIsDeniedAndNotTriedAgainAndAgain) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder.path() / "memcached.conf")
      << "mech_list: plain\npwcheck_method: saslauthd\nsaslauthd_path: "
      << (folder.path() / "mux").string() << "\n";
  PasswordCheck check(folder.path());
  ::setenv("SASL_CONF_PATH", folder.path().c_str(), 1);
  const auto server = Server::memcached({"-S"});
  ::unsetenv("SASL_CONF_PATH");
  Gate gate(server->port());
  Store store({gate.address()},
              {{"protocol", std::string("binary")},
               {"user", std::string("the-user")},
               {"password", std::string("secret-one")},
               {"timeout", std::string("5s")}},
              clock_);
  expect_full_service(store.open());

  check.accept_password("secret-two");  // revoked; connections that are there stay
  expect_full_service(store.open());
  gate.reset_connections();
  const int questions = check.questions();
  const auto error = failure_of([&] { store.strict().get("k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::denied);
  EXPECT_THAT(error->what(),
              AllOf(HasSubstr("password"), Not(HasSubstr("secret")), Not(HasSubstr("the-user"))));
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(store.open().get("k"));
    EXPECT_EQ(kind_of_failure([&] { store.strict().get("k"); }), Kind::denied);
  }
  EXPECT_LE(check.questions(), questions + 2) << "one for each alias";
  EXPECT_THAT(store.warnings(Warning::Kind::breaker_opened), IsEmpty());

  check.accept_password("secret-one");
  clock_.advance(long_pause);
  expect_full_service(store.open());
  expect_full_service(store.strict());
}

// --- 29: a restart ---

TEST_F(MemcachedFaults, ARestartLosesEverythingAndNothingElse) {
  for (int i = 0; i < 50; ++i) strict_.set("key" + std::to_string(i), i);
  server_->kill9();
  server_->start();
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(strict_.get("key" + std::to_string(i)));
  EXPECT_EQ(strict_.get_or_set("key1", [] { return 7; }), 7);
  EXPECT_EQ(strict_.get<int>("key1"), 7) << "that there was nothing is not remembered";
  EXPECT_THAT(store_.warnings(Warning::Kind::degraded), IsEmpty());
  expect_healed();
}

// --- 30: refused values ---

TEST_F(MemcachedFaults, AValueTheServerRefusesIsFalseAndTheOlderOneIsGone) {
  const auto narrow = Server::memcached({"-M", "-m", "2"});
  Store store({narrow->address()}, {}, clock_);
  for (Cache* const cache : {&store.open(), &store.strict()}) {
    ASSERT_TRUE(cache->set("k", "old"));
    EXPECT_FALSE(cache->set("k", std::string(2'000'000, 'x'))) << "too large, under both policies";
    EXPECT_FALSE(cache->get("k"));
  }
  // No memory left: this server drops no connection.
  ASSERT_TRUE(store.strict().set("kept", std::string(10'000, 'a')));
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    refused += store.strict().set("fill" + std::to_string(i), std::string(10'000, 'f')) ? 0 : 1;
  }
  EXPECT_GT(refused, 0);
  EXPECT_EQ(store.strict().get("kept")->size(), 10'000U) << "reads go on";
  EXPECT_FALSE(store.open().set("kept", std::string(10'001, 'b')));
  EXPECT_FALSE(store.open().get("kept"));
  EXPECT_THAT(store.warnings(Warning::Kind::value_refused),
              Contains(HasSubstr("older one is gone")).Times(Ge(4)));
  store.strict().clear();
  expect_full_service(store.open());
}

// --- 31: one of several is down ---

class MemcachedFaultsOfOne : public ::testing::Test {
 protected:
  MemcachedFaultsOfOne() {
    for (int i = 0; i < 60; ++i) keys_.push_back("key" + std::to_string(i));
    for (const std::string& key : keys_) strict_.set(key, "first of " + key);
    Store only_second({second_->address()}, {}, clock_);
    for (const std::string& key : keys_) {
      (only_second.strict().get(key) ? of_second_ : of_first_).push_back(key);
    }
  }
  std::set<std::string> found(Cache& cache) const {
    std::set<std::string> found;
    const auto values = cache.get_many(keys_);
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (values[i]) found.insert(keys_[i]);
    }
    return found;
  }
  static std::set<std::string> set_of(const std::vector<std::string>& keys) {
    return {keys.begin(), keys.end()};
  }
  // Until its breaker opens.
  void fail_first() {
    for (int i = 0; i < 5; ++i) {
      EXPECT_FALSE(open_.get(of_first_[0]));
      EXPECT_TRUE(failure_of([&] { strict_.get(of_first_[0]); }));
      clock_.advance(1500ms);
    }
  }

  std::unique_ptr<Server> first_ = Server::memcached();
  std::unique_ptr<Server> second_ = Server::memcached();
  Gate gate_{first_->port()};
  ManualClock clock_;
  Store store_{{gate_.address(), second_->address()}, {}, clock_};
  Cache& open_ = store_.open();
  Cache& strict_ = store_.strict();
  std::vector<std::string> keys_;
  std::vector<std::string> of_first_;
  std::vector<std::string> of_second_;
};

TEST_F(MemcachedFaultsOfOne, ServersThatAreDownLoseTheirOwnKeysOnly) {
  ASSERT_FALSE(of_first_.empty());
  ASSERT_FALSE(of_second_.empty());
  gate_.down();
  EXPECT_EQ(found(open_), set_of(of_second_));
  fail_first();
  EXPECT_THAT(store_.warnings(Warning::Kind::breaker_opened),
              ElementsAre(HasSubstr(gate_.address()), HasSubstr(gate_.address())));
  clock_.advance(long_pause);
  EXPECT_FALSE(open_.get(of_first_[0]));  // the probe
  EXPECT_TRUE(failure_of([&] { strict_.get(of_first_[0]); }));

  // The breaker is open, and the other server's keys are as they were.
  EXPECT_EQ(found(open_), set_of(of_second_));
  EXPECT_EQ(failure_of([&] { strict_.get_many(keys_); })->server(), gate_.address());
  std::map<std::string, std::string> again;
  for (const std::string& key : keys_) again[key] = "again";
  EXPECT_EQ(open_.set_many(again).size(), keys_.size()) << "a failure speaks for all";
  for (const std::string& key : of_second_) EXPECT_EQ(strict_.get(key), "again");
  EXPECT_TRUE(failure_of([&] { open_.erase_many(keys_); }));
  EXPECT_THAT(found(open_), IsEmpty()) << "what could be erased was";
  const CacheHealth health = store_.health("open");
  EXPECT_FALSE(health.reachable);
  EXPECT_FALSE(health.servers[0].reachable);
  EXPECT_TRUE(health.servers[1].reachable);
  EXPECT_EQ(health.breaker, State::open);

  // It comes back empty: keys never moved, so nothing old of other servers is on it.
  first_->kill9();
  first_->start();
  gate_.pass();
  clock_.advance(long_pause);
  EXPECT_THAT(found(open_), IsEmpty());
  EXPECT_TRUE(open_.set_many(again).empty());
  EXPECT_EQ(found(strict_).size(), keys_.size());
  expect_full_service(open_);
  expect_full_service(strict_);
  EXPECT_EQ(store_.health("open").breaker, State::closed);
}

// What docs/stores.md says of it: a server that kept its memory serves what it had.
TEST_F(MemcachedFaultsOfOne, AServerThatWasOnlyUnreachableServesWhatItHad) {
  gate_.down();
  const std::string& key = of_first_[0];
  EXPECT_FALSE(open_.set(key, "second")) << "the caller was told";
  EXPECT_TRUE(failure_of([&] { open_.erase(of_first_[1]); })) << "and here by an exception";
  gate_.pass();
  clock_.advance(long_pause);
  EXPECT_EQ(open_.get(key), "first of " + key);
  EXPECT_TRUE(open_.set(key, "second"));
  EXPECT_EQ(open_.get(key), "second");
  EXPECT_TRUE(open_.erase(of_first_[1]));
  expect_full_service(open_);
  expect_full_service(strict_);
}

TEST_F(MemcachedFaultsOfOne, AServerThatHangsLeavesTimeForTheOthers) {
  Store store({gate_.address(), second_->address()}, {{"timeout", std::string("3s")}}, clock_);
  Cache& open = store.open();
  expect_full_service(open);
  gate_.set({.hang = true});
  std::map<std::string, std::string> again;
  for (const std::string& key : keys_) again[key] = "again";
  auto time = time_of([&] { EXPECT_EQ(found(open), set_of(of_second_)); });
  EXPECT_LT(time, time_limit);
  time = time_of([&] { EXPECT_EQ(open.set_many(again).size(), keys_.size()); });
  EXPECT_LT(time, time_limit);
  for (const std::string& key : of_second_) EXPECT_EQ(open.get(key), "again");
  time = time_of([&] { EXPECT_TRUE(failure_of([&] { open.erase_many(keys_); })); });
  EXPECT_LT(time, time_limit);
  EXPECT_THAT(found(open), IsEmpty());
  gate_.pass();
  clock_.advance(long_pause);
  EXPECT_TRUE(open.set_many(again).empty());
  EXPECT_EQ(found(strict_).size(), keys_.size());
}

TEST_F(MemcachedFaultsOfOne, WhatOneServerWouldRefuseIsKnownBeforehand) {
  const auto* const admission = open_.extension<AdmissionExtension>();
  ASSERT_NE(admission, nullptr);
  EXPECT_TRUE(admission->admits_all());
  gate_.down();
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(open_.get(of_first_[0]));
    clock_.advance(i < 4 ? 1500ms : 0ms);
  }
  const auto admits = [&](const std::string& key, Access access) {
    return admission->admits(open_.final_key(key), access);
  };
  EXPECT_FALSE(admits(of_first_[0], Access::read));
  EXPECT_FALSE(admits(of_first_[1], Access::write));
  EXPECT_TRUE(admits(of_second_[0], Access::write));
  EXPECT_FALSE(admission->admits_all());
  EXPECT_TRUE(testing::makes_no_system_call([&] {
    for (int i = 0; i < 100; ++i) {
      open_.get<int>(of_first_[0]);
      open_.set(of_first_[0], 1);
    }
  }));
  EXPECT_TRUE(open_.set(of_second_[0], "served"));
  EXPECT_THAT(store_.warnings(Warning::Kind::recovered), IsEmpty()) << "one is still down";
  gate_.pass();
  clock_.advance(long_pause);
  EXPECT_TRUE(open_.set(of_first_[0], "again"));
  EXPECT_TRUE(admission->admits_all());
  EXPECT_THAT(store_.warnings(Warning::Kind::recovered), SizeIs(1));
}

// --- 32: keys that would be commands ---

TEST_F(MemcachedFaults, AKeyThatCannotBeSentIsRefusedBeforeAnythingIsSent) {
  for (const std::string& key :
       {std::string("with blank"), std::string(260, 'k'), std::string("a\r\nflush_all\r\n")}) {
    for (Cache* const cache : {&open_, &strict_}) {
      EXPECT_THROW(cache->get(key), InvalidKey);
      EXPECT_THROW(cache->set(key, 1), InvalidKey);
      EXPECT_THROW(cache->add(key, 1), InvalidKey);
      EXPECT_THROW(cache->erase(key), InvalidKey);
      EXPECT_THROW(cache->get_many({"k", key}), InvalidKey);
      EXPECT_THROW(cache->incr(key), InvalidKey);
    }
  }
  EXPECT_EQ(gate_.bytes_to_server(), 0U);
  expect_healed();
}

// --- The pool: 13, 42, 68 ---

TEST_F(MemcachedFaults, FiveHundredThreadsShareThirtyTwoConnections) {
  Store store({gate_.address()}, {{"timeout", std::string("60s")}});
  store.strict().set("k", "v");
  std::atomic<int> hits{0};
  std::barrier together(500);  // ended threads would have connections closed
  std::vector<std::thread> threads;
  threads.reserve(500);
  for (int i = 0; i < 500; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10; ++n) hits += store.strict().get("k") == "v" ? 1 : 0;
      together.arrive_and_wait();
    });
  }
  std::int64_t most = 0;
  while (hits < 4000) {
    most = std::max(most, statistic(*server_, "curr_connections"));
    std::this_thread::sleep_for(5ms);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(hits, 5000);
  EXPECT_LE(gate_.most_connections(), 32U);
  EXPECT_LE(gate_.connections_ever(), 32U) << "each was opened once";
  // The server counts its own (a listener, and one of each question) in addition to ours.
  EXPECT_LE(most, 32 + 10);
  expect_full_service(store.strict());
}

TEST_F(MemcachedFaults, AThreadThatEndsLeavesItsConnectionToOthers) {
  for (int i = 0; i < 20; ++i) {
    std::thread([&] { EXPECT_TRUE(store_.open().set("k", i)); }).join();
  }
  EXPECT_EQ(gate_.connections_ever(), 1U);
}

// The threads may never return: no more connections stay open than the remaining sessions need.
TEST_F(MemcachedFaults, ThreadsThatEndTogetherLeaveFewConnections) {
  open_.get("k");
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) store_.open().get("k");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(soon([&] { return gate_.connections() <= 2; })) << gate_.connections();
  expect_healed();
}

TEST_F(MemcachedFaults, WaitingForAConnectionCountsAgainstTheLimit) {
  Store store({gate_.address()}, {{"max_connections", std::int64_t{1}}}, clock_);
  store.strict().set("k", "v");
  std::mutex mutex;
  std::condition_variable changed;
  bool holding = false;
  bool release = false;
  std::thread holder([&] {
    store.strict().visit("k", [&](std::string_view) {
      std::unique_lock lock(mutex);
      holding = true;
      changed.notify_all();
      changed.wait(lock, [&] { return release; });
    });
  });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return holding; });
  }
  std::optional<BackendError> error;
  const auto time = time_of([&] { error = failure_of([&] { store.strict().get("k"); }); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::overloaded);
  EXPECT_THAT(error->what(), HasSubstr("max_connections"));
  EXPECT_THAT(time, AllOf(Ge(operation_timeout - 10ms), Lt(time_limit)));
  {
    const std::lock_guard lock(mutex);
    release = true;
  }
  changed.notify_all();
  holder.join();
  expect_full_service(store.strict());
}

TEST_F(MemcachedFaults, SixtyFourThreadsDoNotStormAServerThatComesBack) {
  Store store({gate_.address()}, {{"timeout", std::string("5s")}});
  std::atomic<bool> ending{false};
  std::atomic<int> hits{0};
  std::atomic<std::int64_t> calls{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&] {
      while (!ending) {
        hits += store.open().set("k", 1) ? 1 : 0;
        ++calls;
        std::this_thread::sleep_for(10ms);
      }
    });
  }
  EXPECT_TRUE(soon([&] { return hits > 200; }));
  server_->kill9();  // the gate still accepts, so that it counts who tries
  const std::size_t before = gate_.connections_ever();
  EXPECT_TRUE(soon([&] { return store.health("open").breaker == State::open; }));
  std::this_thread::sleep_for(500ms);
  const std::size_t tries = gate_.connections_ever() - before;
  server_->start();
  const auto back = Steady::now();
  hits = 0;
  EXPECT_TRUE(soon([&] { return hits > 0; }));
  const auto first = std::chrono::ceil<std::chrono::milliseconds>(Steady::now() - back);
  EXPECT_TRUE(soon([&] { return hits > 200; }));
  ending = true;
  for (std::thread& thread : threads) thread.join();
  const std::size_t all = gate_.connections_ever() - before;
  std::cout << "memcached, 64 threads: " << calls << " calls, " << tries
            << " connections tried while the server was away, " << all - tries
            << " until all went on; full service after " << first.count() << " ms\n";
  // Each of the connections that broke once, in the very moment when the server went, and
  // then one at a time; each of the 32 once when it was back; health asks, too.
  EXPECT_LT(tries, 300U);
  EXPECT_LT(all - tries, 100U);
  EXPECT_LE(gate_.most_connections(), 2 * 32U + 8U) << "closing takes the gate a moment";
}

TEST_F(MemcachedFaults, AForksChildOpensItsOwnConnections) {
  strict_.set("k", "parent");
  const std::size_t before = gate_.connections_ever();
  const pid_t child = ::fork();
  if (child == 0) {
    bool good = strict_.get("k") == "parent" && strict_.set("k", "child");
    good = good && !store_.open().get("other");
    ::_exit(good ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(gate_.connections_ever(), before + 2) << "one for each alias";
  EXPECT_EQ(strict_.get("k"), "child");
  EXPECT_EQ(gate_.connections_ever(), before + 2) << "the parent's is still its own";
  expect_healed();
}

// Other threads of the parent are in the middle of an operation, and hold all connections.
// g++ 12's AddressSanitizer does not hold its allocator's locks over a fork.
#if !defined(__SANITIZE_ADDRESS__)
TEST_F(MemcachedFaults, AForkWhileThreadsWorkIsSafe) {
  constexpr int thread_count = 4;
  Store store({gate_.address()}, {{"max_connections", std::int64_t{thread_count}}});
  store.strict().set("k", "v");
  std::mutex mutex;
  std::condition_variable changed;
  int holding = 0;
  bool release = false;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < thread_count; ++i) {
    threads.emplace_back([&] {
      const bool found = store.strict().visit("k", [&](std::string_view) {
        std::unique_lock lock(mutex);
        ++holding;
        changed.notify_all();
        changed.wait(lock, [&] { return release; });
      });
      right += found && store.strict().get("k") == "child" ? 1 : 0;
    });
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return holding == thread_count; });
  }
  const pid_t child = ::fork();
  if (child == 0) {
    const bool good = store.strict().get("k") == "v" && store.strict().set("k", "child");
    ::_exit(good ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  {
    const std::lock_guard lock(mutex);
    release = true;
  }
  changed.notify_all();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, thread_count);
  EXPECT_THAT(store.warnings(Warning::Kind::degraded), IsEmpty());
  expect_full_service(store.strict());
}

// No thread of the child holds the resolver's locks.
TEST_F(MemcachedFaults, AForkWhileThreadsConnectHangsNoChild) {
  Store store({server_->address()}, {{"idle_timeout", std::string("1ms")}});
  EXPECT_EQ(testing::children_that_hang(store, 60), 0);
  expect_full_service(store.strict());
}
#endif

// --- Configuration ---

TEST(MemcachedFaultsConfig, LimitsThatMakeNoSenseAreRefusedByName) {
  const auto problem = [](OptionMap options) -> std::string {
    try {
      const CacheRegistry registry(
          {.caches = {{"shop", {.backend = "memcached", .options = std::move(options)}}}},
          {.linked_plugins = {&memcached::plugin}});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  const std::vector<std::pair<std::string, OptionValue>> wrong{
      {"timeout", std::int64_t{0}},
      {"timeout", std::string("-1s")},
      {"connect_timeout", std::int64_t{0}},
      {"connect_timeout", std::string("-5ms")},
      {"idle_timeout", std::int64_t{0}},
      {"max_connections", std::int64_t{0}},
      {"max_connections", std::int64_t{-3}},
      {"max_value_bytes", std::int64_t{0}},
      {"max_connections", std::string("many")}};
  for (const auto& [name, value] : wrong) {
    EXPECT_THAT(problem({{name, value}}), HasSubstr("shop.options." + name));
  }
  EXPECT_THAT(problem({{"connect_timeout", std::string("2s")}, {"timeout", std::string("1s")}}),
              AllOf(HasSubstr("shop.options.connect_timeout"), HasSubstr("longer")));
  EXPECT_EQ(problem({{"connect_timeout", std::string("1s")}, {"timeout", std::string("1s")}}), "");
  EXPECT_EQ(problem({{"timeout", std::string("100ms")}}), "") << "below the other's default";
}

}  // namespace
}  // namespace polycache

// In the place of the system's, which is asked for every other name. The name of the tests is
// unknown, or an address.
extern "C" __attribute__((visibility("default"))) int getaddrinfo(const char* node,
                                                                  const char* service,
                                                                  const addrinfo* hints,
                                                                  addrinfo** result) {
  using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto system = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  if (node == nullptr || std::string_view(node) != "cache.invalid") {
    return system(node, service, hints, result);
  }
  std::optional<std::string> address;
  {
    const std::lock_guard lock(polycache::name_mutex);
    address = polycache::meaning;
  }
  ++polycache::lookups;
  return address ? system(address->c_str(), service, hints, result) : EAI_NONAME;
}
