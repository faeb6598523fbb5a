// What must be survived with redis: through a registry, against real servers, with a gate in
// between that does harm.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
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
#include "polycache/backends/redis.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/registry.h"
#include "polycache/testing/manual_clock.h"
#include "support/gate.h"
#include "support/peer.h"
#include "support/server.h"
#include "two_policies.h"

using namespace std::chrono_literals;
using ::testing::AllOf;
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
using testing::Peer;
using testing::peer_hears;
using testing::peer_says;
using testing::Server;
using testing::soon;
using testing::time_of;
using Steady = std::chrono::steady_clock;

// Of the stores whose limits are looked at. All others have one that no machine misses.
constexpr auto operation_timeout = 500ms;
// An operation's limit, and what a machine may need that has other things to do.
constexpr auto time_limit = operation_timeout + 15s;

// Longer than any pause between connections, but not than a breaker's; than any pause at all.
constexpr auto short_pause = 1300ms;
constexpr auto long_pause = 40s;

// Speaks to the server past the store.
std::string command(const Server& server, const std::string& line) {
  const std::string program = "redis-cli -p " + std::to_string(server.port()) + " " + line;
  FILE* const pipe = ::popen(program.c_str(), "r");
  std::string text;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  ::pclose(pipe);
  return text;
}

// A number that redis says of itself.
std::int64_t statistic(const Server& server, const std::string& name) {
  const std::string text = command(server, "info");
  const std::size_t at = text.find(name + ":");
  return at == std::string::npos ? -1 : std::atoll(text.c_str() + at + name.size() + 1);
}

class Store : public testing::TwoPolicies {
 public:
  explicit Store(std::vector<std::string> location, OptionMap options = {},
                 const Clock& clock = Clock::real())
      : TwoPolicies(redis::plugin, testing::as_run("rediss://", std::move(location)),
                    testing::as_run(std::move(options)), "60s", clock) {}
};

void expect_full_service(Cache& cache) {
  EXPECT_TRUE(cache.set("full", "service"));
  EXPECT_EQ(cache.get("full"), "service");
  EXPECT_TRUE(cache.touch("full", 1min));
  EXPECT_TRUE(cache.erase("full"));
  EXPECT_TRUE(cache.add("full", 1));
  EXPECT_EQ(cache.incr("full"), 2);
  EXPECT_EQ(cache.pop<int>("full"), 2);
  EXPECT_TRUE(cache.set_many(std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}}).empty());
  EXPECT_EQ(cache.get_many({"a", "b"})[1], "2");
  EXPECT_EQ(cache.erase_many({"a", "b"}), 2U);
}

// Whether it works; for a store whose limits a busy machine may miss.
bool serves(Cache& cache) {
  try {
    return cache.set("full", "service") && cache.get("full") == "service" && cache.erase("full");
  } catch (const BackendError&) {
    return false;
  }
}

// A server behind a gate; time stands still but for waiting for the server.
class RedisServerFaults : public ::testing::Test {
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

  bool serves_soon(Store& store) {
    return soon([&] {
      clock_.advance(long_pause);
      return serves(store.open()) && serves(store.strict());
    });
  }

  testing::Service service_ = testing::Service::redis();
  std::unique_ptr<Server>& server_ = service_.server;
  Gate gate_{service_.port};
  ManualClock clock_;
  Store store_{{gate_.address()}, {}, clock_};
  Cache& open_ = store_.open();
  Cache& strict_ = store_.strict();
};

// --- 1: not there at the start ---

TEST_F(RedisServerFaults, AServerThatIsNotThereAtTheStartCostsMisses) {
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
  clock_.advance(short_pause);
  expect_full_service(store.open());
  expect_full_service(store.strict());
}

// --- 2, 3: dies, and comes back ---

TEST_F(RedisServerFaults, ADeadServerIsNotCalledUntilItRecovers) {
  expect_healed();
  gate_.down();
  EXPECT_FALSE(open_.get("k"));
  const auto at_once = failure_of([&] { strict_.get("k"); });
  ASSERT_TRUE(at_once);
  EXPECT_EQ(at_once->kind(), Kind::unreachable);
  const auto not_yet = failure_of([&] { strict_.get("k"); });
  ASSERT_TRUE(not_yet);
  EXPECT_EQ(not_yet->kind(), Kind::unreachable);
  EXPECT_THAT(not_yet->what(), AllOf(HasSubstr(gate_.address()), HasSubstr("next attempt in"),
                                     HasSubstr("refused")));

  for (int i = 0; i < 4; ++i) {
    clock_.advance(short_pause);  // beyond the pause between connections
    EXPECT_FALSE(open_.get("k"));
    EXPECT_TRUE(failure_of([&] { strict_.get("k"); }));
  }
  EXPECT_EQ(store_.health("open").breaker, State::open);
  EXPECT_THAT(store_.warnings(Warning::Kind::breaker_opened),
              ElementsAre(HasSubstr(gate_.address()), HasSubstr(gate_.address())));
  const auto left_alone = failure_of([&] { strict_.get("k"); });
  ASSERT_TRUE(left_alone);
  EXPECT_EQ(left_alone->kind(), Kind::unreachable);
  EXPECT_THAT(left_alone->what(), AllOf(HasSubstr("circuit breaker"), HasSubstr("next attempt in"),
                                        HasSubstr("refused")));
  EXPECT_TRUE(failure_of([&] { open_.erase("k"); })) << "an erasure is not lost in silence";

  gate_.pass();
  EXPECT_FALSE(open_.set("k", 1)) << "it is still not called";
  clock_.advance(long_pause);
  expect_healed();
  EXPECT_EQ(store_.health("open").breaker, State::closed);
  EXPECT_THAT(store_.warnings(Warning::Kind::breaker_closed),
              ElementsAre(HasSubstr(gate_.address()), HasSubstr(gate_.address())));
}

TEST_F(RedisServerFaults, HealthIsCheckedWhateverTheBreakerState) {
  EXPECT_TRUE(store_.health("open").reachable);
  gate_.down();
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(open_.get("k"));
    clock_.advance(i < 4 ? std::chrono::milliseconds(short_pause) : 0ms);
  }
  CacheHealth health = store_.health("open");
  EXPECT_FALSE(health.reachable);
  ASSERT_THAT(health.servers, SizeIs(1));
  EXPECT_EQ(health.servers[0].name, gate_.address());
  EXPECT_EQ(health.servers[0].breaker, State::open);
  EXPECT_THAT(health.servers[0].error, HasSubstr("refused"));

  gate_.pass();
  health = store_.health("open");
  EXPECT_TRUE(health.reachable);
  EXPECT_GT(health.servers[0].round_trip.count(), 0);
  EXPECT_EQ(health.servers[0].breaker, State::open) << "asking changes nothing";
  EXPECT_FALSE(open_.set("k", 1));
  clock_.advance(long_pause);
  expect_healed();
}

// On the machine's clock: how long it takes from "server back" to "full service".
TEST_F(RedisServerFaults, FullServiceSoonAfterTheServerIsBack) {
  Store store({server_->address()}, {{"timeout", "1s"}});
  std::atomic<bool> ending{false};
  std::atomic<int> hits{0};
  std::atomic<std::chrono::milliseconds::rep> longest{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const std::string key = "k" + std::to_string(i);
      while (!ending) {
        const auto time = time_of([&] {
          store.open().set(key, i);
          if (store.open().get<int>(key) == i) ++hits;
        });
        if (time.count() > longest) longest = time.count();
        std::this_thread::sleep_for(1ms);
      }
    });
  }
  EXPECT_TRUE(soon([&] { return hits > 100; }));
  server_->kill9();
  std::this_thread::sleep_for(1500ms);  // until all know that it is gone
  server_->start();
  const auto back = Steady::now();
  hits = 0;
  EXPECT_TRUE(soon([&] { return hits > 0; }));
  const auto first = std::chrono::ceil<std::chrono::milliseconds>(Steady::now() - back);
  EXPECT_TRUE(soon([&] { return hits > 100; }));
  ending = true;
  for (std::thread& thread : threads) thread.join();
  std::cout << "redis: from \"server back\" to full service: " << first.count()
            << " ms; longest call: " << longest << " ms\n";
  EXPECT_LT(longest.load(), std::chrono::milliseconds(2 * time_limit).count());
}

// --- 4: hung ---

TEST_F(RedisServerFaults, AServerThatHangsCostsOneTimeLimit) {
  Store store({gate_.address()}, {{"timeout", "500ms"}}, clock_);
  EXPECT_TRUE(serves_soon(store));
  server_->suspend();
  Cache& strict = store.strict();
  const std::vector<std::function<void()>> operations{
      [&] { strict.get("k"); },
      [&] { strict.set("k", 1); },
      [&] {
        strict.get_many({"a", "b", "c"});
      },
      [&] {
        strict.set_many(std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}});
      },
      [&] { strict.erase("k"); },
  };
  for (const auto& operation : operations) {
    const auto time = time_of([&] { EXPECT_EQ(kind_of_failure(operation), Kind::timeout); });
    EXPECT_THAT(time, AllOf(Ge(operation_timeout - 10ms), Lt(time_limit)));
    clock_.advance(short_pause);
  }
  EXPECT_EQ(store.health("strict").breaker, State::open);
  EXPECT_FALSE(store.open().get("k"));
  server_->resume();
  EXPECT_TRUE(serves_soon(store));
  expect_healed();
}

TEST_F(RedisServerFaults, AGetOrSetOnAServerThatHangsWaitsOnce) {
  Store store({gate_.address()}, {{"timeout", "300ms"}}, clock_);
  EXPECT_TRUE(serves_soon(store));
  const std::size_t connections = gate_.connections_ever();
  gate_.set({.hang = true});
  EXPECT_EQ(store.open().get_or_set("k", [] { return 7; }), 7);
  EXPECT_EQ(gate_.connections_ever(), connections) << "a second step would have connected anew";
  heal();
  EXPECT_TRUE(serves_soon(store));
  EXPECT_EQ(store.open().get_or_set("k", [] { return 8; }), 8) << "the 7 was not stored";
}

// --- 5: late ---

TEST_F(RedisServerFaults, ALateReplyIsNotTheAnswerToTheNextQuestion) {
  Store store({gate_.address()}, {{"timeout", "2s"}}, clock_);
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

TEST_F(RedisServerFaults, WhatCanBeRepeatedIsRepeatedOnceOnAFreshConnection) {
  strict_.set("k", "v");
  const std::vector<std::function<void()>> operations{
      [&] { EXPECT_EQ(strict_.get("k"), "v"); },
      [&] { EXPECT_TRUE(strict_.contains("k")); },
      [&] { EXPECT_EQ(strict_.get_many({"k"})[0], "v"); },
      [&] { EXPECT_TRUE(strict_.set("k", "v")); },
      [&] { EXPECT_TRUE(strict_.touch("k", 1min)); },
      [&] {
        EXPECT_TRUE(strict_.set_many(std::map<std::string, std::string>{{"k", "v"}}).empty());
      },
  };
  for (const Gate::Faults& faults :
       {Gate::Faults{.reset_on_request = true}, Gate::Faults{.truncate_after = 1},
        Gate::Faults{.reset_after = 1}}) {
    for (const auto& operation : operations) {
      const std::size_t connections = gate_.connections_ever();
      gate_.set(faults, Gate::Reach::existing);
      operation();
      EXPECT_EQ(gate_.connections_ever(), connections + 1);
    }
  }
  gate_.set({.reset_on_request = true});
  const std::size_t connections = gate_.connections_ever();
  EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::unreachable);
  EXPECT_EQ(gate_.connections_ever(), connections + 1) << "once, and no more";
  heal();
  expect_healed();
}

// Whether there was an entry is a claim: of several who erase it, one may go on.
TEST_F(RedisServerFaults, AnErasureNeverSaysFalseForAnEntryThatItRemoved) {
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

TEST_F(RedisServerFaults, WhatCannotBeRepeatedIsSentOnce) {
  strict_.set("n", 0);
  EXPECT_EQ(strict_.incr("n"), 1);  // now the server knows the script
  // It arrives, and only the answer is lost.
  gate_.set({.reset_after = 1}, Gate::Reach::existing);
  const std::size_t connections = gate_.connections_ever();
  EXPECT_EQ(kind_of_failure([&] { strict_.incr("n"); }), Kind::unreachable);
  EXPECT_EQ(gate_.connections_ever(), connections);
  EXPECT_EQ(strict_.get<int>("n"), 2) << "counted once";
  gate_.set({.reset_after = 1}, Gate::Reach::existing);
  EXPECT_EQ(kind_of_failure([&] { strict_.add("added", 1); }), Kind::unreachable);
  EXPECT_EQ(strict_.get<int>("added"), 1);
  EXPECT_FALSE(strict_.add("added", 2)) << "the first one took effect, and no call denies it";
  auto* const compare = strict_.extension<CompareExtension>();
  EXPECT_TRUE(compare->put_if_equal(":1:added", "1", "5", std::nullopt));
  const std::size_t before = gate_.connections_ever();
  gate_.set({.reset_after = 1}, Gate::Reach::existing);
  EXPECT_EQ(kind_of_failure([&] { compare->put_if_equal(":1:added", "5", "7", std::nullopt); }),
            Kind::unreachable);
  EXPECT_EQ(gate_.connections_ever(), before);
  EXPECT_EQ(strict_.get<int>("added"), 7);
  // It does not arrive.
  gate_.set({.reset_on_request = true}, Gate::Reach::existing);
  EXPECT_EQ(kind_of_failure([&] { strict_.incr("n"); }), Kind::unreachable);
  EXPECT_EQ(strict_.get<int>("n"), 2);
  heal();
  expect_healed();
}

// --- 7: half open ---

TEST_F(RedisServerFaults, APeerThatVanishedCostsOneTimeLimit) {
  Store store({gate_.address()}, {{"timeout", "2s"}}, clock_);
  EXPECT_FALSE(store.strict().get("k"));
  gate_.set({.vanish = true}, Gate::Reach::existing);
  const auto time =
      time_of([&] { EXPECT_EQ(kind_of_failure([&] { store.strict().get("k"); }), Kind::timeout); });
  EXPECT_LT(time, 2s + time_limit);
  EXPECT_FALSE(store.strict().get("k")) << "on another connection, at once";
  gate_.pass();
  EXPECT_TRUE(serves_soon(store));
  expect_healed();
}

TEST_F(RedisServerFaults, AnIdlePeerThatVanishesIsDetectedByKeepalive) {
  EXPECT_FALSE(strict_.get("k"));
  const std::vector<int> sockets = testing::own_sockets_to(gate_.port());
  ASSERT_THAT(sockets, SizeIs(1));
  EXPECT_EQ(testing::socket_option(sockets[0], SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(testing::socket_option(sockets[0], IPPROTO_TCP, TCP_KEEPIDLE), 30);
  EXPECT_EQ(testing::socket_option(sockets[0], IPPROTO_TCP, TCP_KEEPINTVL), 10);
  EXPECT_EQ(testing::socket_option(sockets[0], IPPROTO_TCP, TCP_KEEPCNT), 3);
}

// --- 8: in slices ---

TEST_F(RedisServerFaults, ByteByByteIsTheSameAnswer) {
  const std::string value(2000, 'v');
  gate_.set({.slice = 0us});
  expect_healed();
  EXPECT_TRUE(strict_.set("k", value));
  EXPECT_EQ(strict_.get("k"), value);
  EXPECT_EQ(strict_.get_many({"k", "absent", "k"})[2], value);
  gate_.pass();
  expect_healed();
}

// --- 9: truncated ---

TEST_F(RedisServerFaults, ATruncatedAnswerIsNoValue) {
  const std::string value(100, 'v');
  strict_.set("k", value);
  for (const std::size_t bytes : {1U, 4U, 6U, 7U, 50U, 106U, 107U}) {
    gate_.set({.truncate_after = bytes});
    EXPECT_EQ(kind_of_failure([&] { EXPECT_NE(strict_.get("k"), "absurd"); }), Kind::unreachable)
        << bytes;
    heal();
    EXPECT_EQ(strict_.get("k"), value);
    EXPECT_EQ(open_.get("k"), value);
    gate_.set({.truncate_after = bytes});
    EXPECT_FALSE(open_.get("k")) << bytes;
    heal();
  }
  expect_healed();
}

// --- 10: garbage ---

TEST_F(RedisServerFaults, GarbageEndsTheConnectionAndTakesNoMemory) {
  const auto most_memory = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // KiB
  };
  expect_healed();
  const long before = most_memory();
  for (const std::string garbage :
       {"HTTP/1.1 400 Bad Request\r\n\r\n", "$1000000000000\r\nx", "*2147483647\r\n", "$-9\r\n",
        "\xff\xfe\xfd\r\n", "+OK\r\n", ":17\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"}) {
    gate_.set({.replacement = garbage}, Gate::Reach::existing);
    EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::protocol) << garbage;
    heal();
    EXPECT_FALSE(strict_.get("k")) << "the next one is right again";
    gate_.set({.replacement = garbage}, Gate::Reach::existing);
    EXPECT_FALSE(open_.get("k"));
    heal();
    EXPECT_FALSE(open_.get("k"));
  }
  EXPECT_LT(most_memory() - before, 64 * 1024);
  expect_healed();
}

// --- 11: throttled, large ---

TEST_F(RedisServerFaults, ALargeValueOnASlowLineEndsWithTheLimit) {
  Store store({gate_.address()}, {{"timeout", "500ms"}}, clock_);
  const std::string value(4'000'000, 'v');
  ASSERT_TRUE(strict_.set("k", value));
  gate_.set({.bytes_per_second = 200'000});
  const auto time =
      time_of([&] { EXPECT_EQ(kind_of_failure([&] { store.strict().get("k"); }), Kind::timeout); });
  EXPECT_LT(time, time_limit);
  clock_.advance(short_pause);
  EXPECT_EQ(kind_of_failure([&] { store.strict().set("k", value); }), Kind::timeout);
  heal();
  EXPECT_TRUE(serves_soon(store));
  expect_healed();
}

TEST_F(RedisServerFaults, AValueThatIsTooLargeIsNotTheServersFault) {
  command(*server_, "set :1:k " + std::string(100'000, 'v'));
  ASSERT_THAT(*strict_.get("k"), SizeIs(100'000));
  Store small({gate_.address()}, {{"max_value_bytes", std::int64_t{1000}}}, clock_);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(kind_of_failure([&] { small.strict().get("k"); }), Kind::protocol);
  }
  EXPECT_TRUE(small.strict().set("k", "small")) << "that does not stop calls to it";
  EXPECT_EQ(small.strict().get("k"), "small");
  EXPECT_THAT(small.warnings(Warning::Kind::breaker_opened), IsEmpty());
}

// --- 12: names ---

// What the name "cache.invalid" means at the moment. The store asks getaddrinfo(), and finds
// the one below.
std::mutex name_mutex;
std::optional<std::string> meaning;
std::atomic<int> lookups{0};

TEST_F(RedisServerFaults, NamesAreResolvedAnewByEachConnection) {
  const auto let_it_mean = [](std::optional<std::string> address) {
    const std::lock_guard lock(name_mutex);
    meaning = std::move(address);
  };
  let_it_mean(std::nullopt);
  Store store({"cache.invalid:" + std::to_string(gate_.port())}, {}, clock_);
  const auto error = failure_of([&] { store.strict().get("k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::unreachable);
  EXPECT_THAT(error->what(), HasSubstr("cannot be resolved"));
  EXPECT_FALSE(store.open().get("k"));

  let_it_mean("127.0.0.1");
  clock_.advance(short_pause);
  expect_full_service(store.strict());
  const int before = lookups;
  expect_full_service(store.strict());
  EXPECT_EQ(lookups, before) << "not for each operation";

  let_it_mean("127.0.0.3");  // nothing listens there
  gate_.reset_connections();
  EXPECT_EQ(kind_of_failure([&] { store.strict().get("k"); }), Kind::unreachable);
  EXPECT_GT(lookups, before);
  let_it_mean("127.0.0.1");
  clock_.advance(long_pause);
  expect_full_service(store.strict());
  expect_full_service(store.open());
}

// --- 13: too many clients, storms ---

TEST_F(RedisServerFaults, TooManyClientsDelaysTheNextConnection) {
  std::atomic<int> accepted{0};
  const Peer peer([&](int connection) {
    ++accepted;
    peer_hears(connection);
    peer_says(connection, "-ERR max number of clients reached\r\n");
  });
  Store store({peer.address()});
  const auto error = failure_of([&] { store.strict().get("k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::overloaded);

  std::vector<std::thread> threads;
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) {
        EXPECT_FALSE(store.open().get("k"));
        std::this_thread::sleep_for(1ms);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::cout << "redis: 64 threads, 6400 operations, tried to connect " << accepted << " times\n";
  EXPECT_LE(accepted, 64);
}

TEST_F(RedisServerFaults, ConnectionAttemptsBackOff) {
  gate_.set({.reset_on_request = true});
  std::vector<int> pauses;  // milliseconds before the second, the third, ... attempt
  int last = 0;
  std::size_t attempts = gate_.connections_ever();
  for (int now = 0; pauses.size() < 5 && now < 5000; ++now) {
    EXPECT_FALSE(open_.get("k"));
    if (gate_.connections_ever() > attempts) {
      ASSERT_EQ(gate_.connections_ever(), attempts + 1) << "one at a time";
      ++attempts;
      if (now > 0) pauses.push_back(now - last);
      last = now;
    }
    clock_.advance(1ms);
  }
  ASSERT_THAT(pauses, SizeIs(5));
  for (std::size_t i = 0; i < 4; ++i) {
    const int pause = 20 << i;
    EXPECT_THAT(pauses[i], AllOf(Ge(pause * 4 / 5), Le(pause * 6 / 5 + 1))) << "the jitter";
  }
  EXPECT_THAT(pauses[4], AllOf(Ge(800), Le(1201))) << "and then the breaker is open";
  heal();
  expect_healed();
}

TEST_F(RedisServerFaults, ManyThreadsMeetARestartedServerWithoutAStorm) {
  Store store({server_->address()});
  std::atomic<bool> ending{false};
  std::atomic<int> hits{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&, i] {
      const std::string key = "k" + std::to_string(i);
      while (!ending) {
        store.open().set(key, i);
        if (store.open().get<int>(key) == i) ++hits;
        std::this_thread::sleep_for(5ms);
      }
    });
  }
  EXPECT_TRUE(soon([&] { return hits > 1000; }));
  server_->kill9();
  server_->start();
  hits = 0;
  EXPECT_TRUE(soon([&] { return hits > 1000; }));
  ending = true;
  for (std::thread& thread : threads) thread.join();
  const std::int64_t connections = statistic(*server_, "total_connections_received");
  std::cout << "redis: 64 threads met a restarted server with " << connections << " connections\n";
  EXPECT_LE(connections, 64) << "with those of this test";
}

// --- 14: idle ---

TEST_F(RedisServerFaults, AConnectionThatTheServerClosedIsReplacedUnnoticed) {
  command(*server_, "config set timeout 1");
  const std::vector<std::function<void()>> operations{
      [&] { EXPECT_TRUE(strict_.set("n", 1)); },
      [&] { EXPECT_EQ(strict_.incr("n"), 2); },  // looks before it sends
      [&] { EXPECT_FALSE(strict_.add("n", 7)); },
  };
  for (const auto& operation : operations) {
    operation();
    EXPECT_TRUE(soon([&] { return gate_.connections() == 0; }));
  }
  EXPECT_EQ(strict_.get<int>("n"), 2);
  EXPECT_EQ(gate_.connections_ever(), 4U);
  EXPECT_THAT(store_.warnings(Warning::Kind::degraded), IsEmpty());
  command(*server_, "config set timeout 0");
  expect_healed();
}

TEST_F(RedisServerFaults, AConnectionIsIdleForAMinuteUnlessSaidOtherwise) {
  strict_.set("k", "v");
  clock_.advance(59s);
  EXPECT_EQ(strict_.get("k"), "v");
  EXPECT_EQ(gate_.connections_ever(), 1U);
  clock_.advance(60s);
  EXPECT_EQ(strict_.get("k"), "v");
  EXPECT_EQ(gate_.connections_ever(), 2U);
}

TEST_F(RedisServerFaults, AnIdleConnectionIsClosed) {
  Store store({gate_.address()}, {{"idle_timeout", std::string("10s")}}, clock_);
  store.strict().set("k", "v");
  store.strict().get("k");
  EXPECT_EQ(gate_.connections_ever(), 1U);
  clock_.advance(11s);
  EXPECT_EQ(store.strict().get("k"), "v");
  EXPECT_EQ(gate_.connections_ever(), 2U) << "not the old one";
  EXPECT_TRUE(soon([&] { return gate_.connections() == 1; }));
}

// --- 16: denied ---

TEST_F(RedisServerFaults, ARevokedPasswordIsATypedErrorWithoutALoop) {
  command(*server_, "acl setuser shop on '>s3cret-one' '~*' +@all");
  Store store({"redis://shop:s3cret-one@" + gate_.address()}, {}, clock_);
  expect_full_service(store.strict());
  expect_full_service(store.open());
  command(*server_, "acl setuser shop resetpass '>s3cret-two'");
  command(*server_, "client kill type normal");
  const std::size_t connections = gate_.connections_ever();
  std::string said;
  for (int i = 0; i < 50; ++i) {
    const auto error = failure_of([&] { store.strict().get("k"); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->kind(), Kind::denied);
    said += error->what();
    EXPECT_FALSE(store.open().get("k"));
  }
  EXPECT_LE(gate_.connections_ever(), connections + 2) << "one attempt of each alias";
  EXPECT_THAT(said,
              AllOf(HasSubstr("WRONGPASS"), Not(HasSubstr("s3cret")), Not(HasSubstr("shop"))));
  EXPECT_EQ(store.health("strict").breaker, State::closed) << "waiting would not help";

  command(*server_, "acl setuser shop resetpass '>s3cret-one'");
  clock_.advance(short_pause);
  expect_full_service(store.strict());
  expect_full_service(store.open());
}

TEST_F(RedisServerFaults, APasswordThatIsWantedFromNowOn) {
  expect_healed();
  command(*server_, "config set requirepass s3cret");
  command(*server_, "-a s3cret client kill type normal 2>/dev/null");
  const std::size_t connections = gate_.connections_ever();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::denied);
    EXPECT_FALSE(open_.get("k"));
  }
  EXPECT_LE(gate_.connections_ever(), connections + 2);
  command(*server_, "-a s3cret config set requirepass '' 2>/dev/null");
  heal();
  expect_healed();
}

TEST_F(RedisServerFaults, DeniedCommandsAreReplacedWherePossible) {
  command(*server_,
          "acl setuser shop on nopass '~*' +@all -getdel -eval -evalsha -psetex -flushdb");
  Store store({"redis://shop:any@" + gate_.address()}, {}, clock_);
  for (int i = 0; i < 3; ++i) {
    expect_full_service(store.strict());
    EXPECT_THROW(store.strict().incr("absent"), KeyNotFound);
  }
  expect_full_service(store.open());
  // Of each alias, about counting by scripts, pop by GETDEL, and PSETEX.
  const std::vector<std::string> warnings = store.warnings(Warning::Kind::other);
  EXPECT_THAT(warnings, SizeIs(6));
  for (const std::string& warning : warnings) {
    EXPECT_THAT(warning,
                AllOf(HasSubstr(gate_.address()), HasSubstr("denies"), Not(HasSubstr("shop"))));
  }
  const auto error = failure_of([&] { store.strict().clear(); });
  ASSERT_TRUE(error) << "there is nothing instead";
  EXPECT_EQ(error->kind(), Kind::denied);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("flushdb"), Not(HasSubstr("shop"))));
  command(*server_, "acl setuser shop +flushdb");
  store.strict().clear();
}

// --- 17: loading ---

TEST_F(RedisServerFaults, AServerThatLoadsIsAskedAgainAfterAPause) {
  expect_healed();
  const auto loading = [](std::string& piece, std::size_t position) {
    piece = position == 0 ? "-LOADING Redis is loading the dataset in memory\r\n" : "";
  };
  gate_.set({.rewrite = loading});
  EXPECT_FALSE(open_.get("k"));
  EXPECT_FALSE(open_.set("k", 1));
  EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::overloaded);
  clock_.advance(short_pause);
  EXPECT_EQ(kind_of_failure([&] { strict_.get("k"); }), Kind::overloaded);
  const std::size_t connections = gate_.connections_ever();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(failure_of([&] { strict_.get("k"); }));
  EXPECT_EQ(gate_.connections_ever(), connections);
  gate_.pass();
  clock_.advance(short_pause);
  expect_healed();
}

// --- 18: read-only ---

TEST_F(RedisServerFaults, AMasterThatBecameAReplicaIsLeftAndReadFrom) {
  strict_.set("k", "v");
  command(*server_, "replicaof 127.0.0.1 1");
  const std::size_t connections = gate_.connections_ever();
  EXPECT_EQ(kind_of_failure([&] { strict_.set("k", "w"); }), Kind::read_only);
  EXPECT_EQ(gate_.connections_ever(), connections + 1) << "it looks for another master, once";
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(failure_of([&] { strict_.set("k", "w"); }));
    EXPECT_EQ(strict_.get("k"), "v");
  }
  EXPECT_LE(gate_.connections_ever(), connections + 11) << "then writes are held back";
  EXPECT_THAT(store_.warnings(Warning::Kind::breaker_opened),
              ElementsAre(HasSubstr("refuses writes")));
  command(*server_, "replicaof no one");
  heal();
  expect_healed();
  EXPECT_THAT(store_.warnings(Warning::Kind::breaker_closed), SizeIs(1));
}

TEST_F(RedisServerFaults, AfterAFailoverTheNextConnectionFindsTheMaster) {
  strict_.set("k", "v");
  // This connection leads to a server that became a replica, the next to the master.
  gate_.set({.replacement = "-READONLY You can't write against a read only replica.\r\n"},
            Gate::Reach::existing);
  EXPECT_TRUE(strict_.set("k", "w")) << "once more, on a fresh connection";
  EXPECT_EQ(strict_.get("k"), "w");
}

// --- 20: out of memory ---

TEST_F(RedisServerFaults, AServerWithoutMemoryIsReadFrom) {
  command(*server_, "config set maxmemory-policy noeviction");
  strict_.set("k", "v");
  strict_.set("n", 1);
  strict_.set("old", "v");
  command(*server_, "config set maxmemory 1");
  EXPECT_FALSE(strict_.set("old", "new")) << "refused, under either policy";
  EXPECT_FALSE(strict_.get("old")) << "and the older value is gone";
  EXPECT_EQ(kind_of_failure([&] { strict_.incr("n"); }), Kind::overloaded);
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(open_.set("n" + std::to_string(i), 1));
    EXPECT_EQ(open_.get("k"), "v");
    EXPECT_EQ(open_.get_many({"k"})[0], "v");
  }
  EXPECT_THAT(store_.warnings(Warning::Kind::value_refused), SizeIs(11));
  // Writes are held back now. What was refused must not leave an older value behind all the
  // same, and what must not be lost goes through.
  for (const char* key : {"k", "n"}) EXPECT_FALSE(open_.set(key, "new"));
  EXPECT_FALSE(open_.get("k"));
  EXPECT_FALSE(open_.erase("n"));
  EXPECT_THAT(open_.set_many(std::map<std::string, std::string>{{"a", "1"}}), SizeIs(1));
  EXPECT_EQ(kind_of_failure([&] { open_.incr("n"); }), Kind::overloaded);
  EXPECT_EQ(store_.health("open").breaker, State::open);
  EXPECT_THAT(store_.warnings(Warning::Kind::breaker_opened),
              ElementsAre(HasSubstr("refuses writes")));
  command(*server_, "config set maxmemory 0");
  heal();
  expect_healed();
}

// --- 21, 22, 23 ---

TEST_F(RedisServerFaults, ScriptsAreSentAgainAfterTheServerLostThem) {
  strict_.set("n", 1);
  EXPECT_EQ(strict_.incr("n"), 2);
  command(*server_, "script flush");
  EXPECT_EQ(strict_.incr("n"), 3);
  server_->kill9();
  server_->start();
  strict_.set("n", 1);
  EXPECT_EQ(strict_.incr("n"), 2);
}

TEST_F(RedisServerFaults, AnotherTypeIsAMissAndIsOverwritten) {
  command(*server_, "rpush :1:k a b");
  EXPECT_FALSE(strict_.get("k"));
  EXPECT_FALSE(open_.contains("k"));
  EXPECT_FALSE(strict_.get_many({"k"})[0]);
  EXPECT_THROW(strict_.incr("k"), KeyNotFound);
  EXPECT_FALSE(strict_.touch("k"));
  EXPECT_THROW(strict_.incr_version("k"), KeyNotFound);
  EXPECT_THAT(store_.warnings(Warning::Kind::undecodable_value), SizeIs(Ge(2U)));
  EXPECT_EQ(command(*server_, "llen :1:k"), "2\n") << "unchanged";
  EXPECT_TRUE(strict_.set("k", "v"));
  EXPECT_EQ(strict_.get("k"), "v");
  expect_healed();
}

TEST_F(RedisServerFaults, GetOrSetReplacesAValueOfAnotherType) {
  for (const char* const made :
       {"rpush :1:k a b", "sadd :1:k a", "hset :1:k f v", "zadd :1:k 1 a", "xadd :1:k * f v"}) {
    command(*server_, made);
    int computed = 0;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(strict_.get_or_set("k", [&] { return ++computed; }), 1) << made;
    }
    EXPECT_EQ(computed, 1) << made;
    EXPECT_EQ(strict_.get<int>("k"), 1) << made;
    strict_.erase("k");
  }
  expect_healed();
}

TEST_F(RedisServerFaults, PopAndEraseRemoveAValueOfAnotherType) {
  const auto is_there = [&] { return command(*server_, "exists :1:k"); };
  command(*server_, "rpush :1:k a b");
  EXPECT_FALSE(strict_.pop("k"));
  EXPECT_EQ(is_there(), "0\n");
  command(*server_, "rpush :1:k a b");
  strict_.erase("k");
  EXPECT_EQ(is_there(), "0\n");
  command(*server_, "rpush :1:k a b");
  strict_.erase_many({"k"});
  EXPECT_EQ(is_there(), "0\n");
  command(*server_, "rpush :1:k a b");
  strict_.touch("k", 0s);
  EXPECT_EQ(is_there(), "0\n");
  expect_healed();
}

TEST_F(RedisServerFaults, AddAndCountersBeginOverAValueOfAnotherType) {
  command(*server_, "rpush :1:k a b");
  EXPECT_TRUE(strict_.add("k", "v"));
  EXPECT_EQ(strict_.get("k"), "v");
  command(*server_, "rpush :1:n a b");
  EXPECT_EQ(strict_.incr("n", 1, {.initial = 6}), 7);
  EXPECT_EQ(strict_.get<int>("n"), 7);
  command(*server_, "rpush :2:v a b");
  strict_.set("v", 5);
  EXPECT_EQ(strict_.incr_version("v"), 2);
  EXPECT_EQ(strict_.get<int>("v", {.version = 2}), 5);
  command(*server_, "rpush :1:m a b");
  EXPECT_THAT(strict_.set_many(std::map<std::string, std::string>{{"m", "v"}}), IsEmpty());
  EXPECT_EQ(strict_.get("m"), "v");
  expect_healed();
}

TEST_F(RedisServerFaults, WhatAnotherProgramFlushedIsAMiss) {
  for (int i = 0; i < 20; ++i) strict_.set("k" + std::to_string(i), i);
  command(*server_, "flushall");
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(strict_.get("k" + std::to_string(i)));
  EXPECT_EQ(strict_.get_or_set("k1", [] { return 7; }), 7);
  EXPECT_THROW(strict_.incr("k2"), KeyNotFound);
  expect_healed();
}

// --- 42, 68 and the pool ---

TEST_F(RedisServerFaults, ManyThreadsOpenNoMoreThanMaxConnections) {
  Store store({gate_.address()}, {{"max_connections", std::int64_t{8}}, {"timeout", "30s"}});
  const std::int64_t before = statistic(*server_, "total_connections_received");
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 500; ++i) {
    threads.emplace_back([&, i] {
      const std::string key = "k" + std::to_string(i);
      for (int n = 0; n < 4; ++n) {
        store.strict().set(key, n);
        if (store.strict().get<int>(key) == n) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 2000);
  EXPECT_LE(gate_.connections_ever(), 8U);
  // Each look at the server is a connection, too.
  EXPECT_LE(statistic(*server_, "total_connections_received") - before, 8 + 1);
  EXPECT_LE(statistic(*server_, "connected_clients"), 8 + 1);
}

TEST_F(RedisServerFaults, ThreadsThatEndGiveTheirConnectionBack) {
  for (int i = 0; i < 50; ++i) {
    std::thread([&] { EXPECT_TRUE(store_.strict().set("k", i)); }).join();
  }
  EXPECT_EQ(strict_.get<int>("k"), 49);
  EXPECT_EQ(gate_.connections_ever(), 1U);
}

TEST_F(RedisServerFaults, ANestedUseTakesAnotherConnectionBelowTheLimit) {
  strict_.set("outer", "o");
  strict_.set("inner", "i");
  std::optional<std::string> inner;
  EXPECT_TRUE(strict_.visit("outer", [&](std::string_view) { inner = strict_.get("inner"); }));
  EXPECT_EQ(inner, "i");
  EXPECT_EQ(gate_.connections_ever(), 2U);

  // At the limit there is none to wait for but the one's own.
  Store one({gate_.address()}, {{"max_connections", std::int64_t{1}}, {"timeout", "1s"}});
  std::optional<BackendError> error;
  EXPECT_TRUE(one.strict().visit(
      "outer", [&](std::string_view) { error = failure_of([&] { one.strict().get("inner"); }); }));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::overloaded);
  EXPECT_THAT(error->what(), HasSubstr("max_connections"));
  EXPECT_EQ(one.strict().get("inner"), "i");
  EXPECT_EQ(one.health("strict").breaker, State::closed) << "the server did nothing";
}

TEST_F(RedisServerFaults, AForksChildOpensConnectionsOfItsOwn) {
  strict_.set("k", "parent");
  const std::size_t connections = gate_.connections_ever();
  const pid_t child = ::fork();
  if (child == 0) {
    bool good = true;
    for (int i = 0; i < 100; ++i) good = good && strict_.get("k") == "parent";
    good = good && strict_.set("child", "was here");
    ::_exit(good ? 0 : 1);
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(strict_.get("k"), "parent");
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(strict_.get("child"), "was here");
  EXPECT_EQ(gate_.connections_ever(), connections + 1) << "the parent's goes on";
}

// No thread of the child holds the resolver's locks. g++ 12's AddressSanitizer does not hold
// its allocator's locks over a fork.
#if !defined(__SANITIZE_ADDRESS__)
TEST_F(RedisServerFaults, AForkWhileThreadsConnectHangsNoChild) {
  Store store({server_->address()}, {{"idle_timeout", std::string("1ms")}});
  EXPECT_EQ(testing::children_that_hang(store, 60), 0);
  expect_full_service(store.strict());
}
#endif

// --- Several servers ---

TEST_F(RedisServerFaults, AReplicaThatIsDownIsPassedOver) {
  const auto primary = Server::redis();
  Store store({primary->address(), gate_.address()}, {}, clock_);
  command(*server_, "set :1:k theirs");
  store.strict().set("k", "ours");
  EXPECT_EQ(store.strict().get("k"), "theirs");
  gate_.down();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(store.strict().get("k"), "ours");
    std::thread([&] { EXPECT_EQ(store.strict().get("k"), "ours"); }).join();  // a fresh session
    clock_.advance(short_pause);
  }
  EXPECT_THAT(store.warnings(Warning::Kind::breaker_opened),
              ElementsAre(HasSubstr(gate_.address())));
  EXPECT_THAT(store.warnings(Warning::Kind::degraded), IsEmpty());
  const CacheHealth health = store.health("strict");
  ASSERT_THAT(health.servers, SizeIs(2));
  EXPECT_TRUE(health.servers[0].reachable);
  EXPECT_FALSE(health.servers[1].reachable);
  heal();
  std::thread([&] { EXPECT_EQ(store.strict().get("k"), "theirs"); }).join();
  EXPECT_THAT(store.warnings(Warning::Kind::breaker_closed), SizeIs(1));
}

// The first server and a replica, both behind gates.
class RedisServersFaults : public RedisServerFaults {
 protected:
  // Until a breaker is open, if no server answers.
  void call_five_times(const std::function<void()>& operation) {
    for (int i = 0; i < 5; ++i) {
      operation();
      clock_.advance(i < 4 ? std::chrono::milliseconds(short_pause) : 0ms);
    }
  }
  bool admits(Access access) { return admission_->admits(":1:k", access); }

  std::unique_ptr<Server> replica_ = Server::redis();
  Gate replica_gate_{replica_->port()};
  Store both_{{gate_.address(), replica_gate_.address()}, {}, clock_};
  Cache& cache_ = both_.open();
  const AdmissionExtension* const admission_ = cache_.extension<AdmissionExtension>();
};

TEST_F(RedisServersFaults, WhatWouldBeRefusedIsKnownBeforehand) {
  ASSERT_NE(admission_, nullptr);
  EXPECT_TRUE(cache_.set("k", 1));
  EXPECT_TRUE(admission_->admits_all());

  gate_.down();
  call_five_times([&] { EXPECT_FALSE(cache_.set("k", 1)); });
  EXPECT_FALSE(admits(Access::write));
  EXPECT_TRUE(admits(Access::read)) << "from the replica";
  EXPECT_FALSE(admission_->admits_all());
  replica_gate_.down();
  call_five_times([&] { EXPECT_FALSE(cache_.get("k")); });
  EXPECT_FALSE(admits(Access::read));

  replica_gate_.pass();
  heal();
  EXPECT_TRUE(admits(Access::read));
  EXPECT_TRUE(admits(Access::write)) << "as a probe";
  EXPECT_FALSE(admission_->admits_all());
  EXPECT_TRUE(cache_.set("k", 1));
  EXPECT_TRUE(admission_->admits_all());
  EXPECT_THAT(both_.warnings(Warning::Kind::recovered), SizeIs(1));
}

TEST_F(RedisServersFaults, WhatIsRefusedCostsNoSystemCall) {
  ASSERT_FALSE(testing::makes_no_system_call([] { ::getppid(); })) << "it would be noticed";
  gate_.down();
  replica_gate_.down();
  call_five_times([&] { EXPECT_FALSE(cache_.set("k", 1)); });
  call_five_times([&] { EXPECT_FALSE(cache_.get("k")); });
  ASSERT_FALSE(admits(Access::read) || admits(Access::write));
  EXPECT_TRUE(testing::makes_no_system_call([&] {
    for (int i = 0; i < 100; ++i) {
      cache_.get<int>("k");
      cache_.contains("k");
      cache_.set("k", 1);
      cache_.touch("k", 1min);
    }
  }));
  replica_gate_.pass();
  heal();
  EXPECT_TRUE(cache_.set("k", 1));
  EXPECT_TRUE(admission_->admits_all());
}

TEST_F(RedisServersFaults, OnlyWritesAreRefusedThatAreOfNoUse) {
  EXPECT_TRUE(cache_.set("k", 1));
  command(*server_, "replicaof 127.0.0.1 1");
  call_five_times([&] { EXPECT_FALSE(cache_.set("k", 2)); });
  EXPECT_FALSE(admits(Access::write));
  EXPECT_TRUE(admits(Access::read));
  EXPECT_FALSE(admission_->admits_all());
  command(*server_, "replicaof no one");
  heal();
  EXPECT_TRUE(cache_.set("k", 1));
  EXPECT_TRUE(admission_->admits_all());

  command(*server_, "config set maxmemory-policy noeviction");
  command(*server_, "config set maxmemory 1");
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(cache_.set("other", 2));
  EXPECT_EQ(both_.health("open").breaker, State::open);
  EXPECT_TRUE(admits(Access::write)) << "what cannot be replaced is erased";
  EXPECT_FALSE(cache_.set("k", 2));
  EXPECT_FALSE(cache_.get("k"));
}

}  // namespace
}  // namespace polycache

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
