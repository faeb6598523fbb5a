// What must be survived with redis only; server_faults_test has what all servers have in common.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "no_system_calls.h"
#include "polycache/author/extension.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/registry.h"
#include "redis_server.h"
#include "server_faults.h"
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
using ::testing::Not;
using ::testing::SizeIs;

namespace polycache::testing {
namespace {

using Kind = BackendError::Kind;
using State = CircuitBreaker::State;

class RedisServerFaults : public ServerFixture {
 protected:
  RedisServerFaults() : ServerFixture(redis_server) {}
};

// --- 6: reset ---

TEST_F(RedisServerFaults, WhatCannotBeRepeatedIsSentOnce) {
  strict_.set("n", 0);
  EXPECT_EQ(strict_.incr("n"), 1);  // now the server knows the script
  // It arrives, and only the answer is lost.
  gate_.set({.reset_after = 1}, Gate::Reach::existing);
  const std::size_t connections = gate_.connections_ever();
  EXPECT_EQ(kind_of_failure([&] { strict_.incr("n"); }), Kind::unreachable);
  EXPECT_EQ(gate_.connections_ever(), connections);
  EXPECT_EQ(strict_.get<int>("n"), 2) << "counted once";
  strict_.set("compared", 1);
  auto* const compare = strict_.extension<CompareExtension>();
  EXPECT_TRUE(compare->put_if_equal(":1:compared", "1", "5", std::nullopt));
  const std::size_t before = gate_.connections_ever();
  gate_.set({.reset_after = 1}, Gate::Reach::existing);
  EXPECT_EQ(kind_of_failure([&] { compare->put_if_equal(":1:compared", "5", "7", std::nullopt); }),
            Kind::unreachable);
  EXPECT_EQ(gate_.connections_ever(), before);
  EXPECT_EQ(strict_.get<int>("compared"), 7);
  // It does not arrive.
  gate_.set({.reset_on_request = true}, Gate::Reach::existing);
  EXPECT_EQ(kind_of_failure([&] { strict_.incr("n"); }), Kind::unreachable);
  EXPECT_EQ(strict_.get<int>("n"), 2);
  heal();
  expect_healed();
}

// --- 13: too many clients ---

TEST_F(RedisServerFaults, TooManyClientsDelaysTheNextConnection) {
  std::atomic<int> accepted{0};
  const Peer peer([&](int connection) {
    ++accepted;
    peer_hears(connection);
    peer_says(connection, "-ERR max number of clients reached\r\n");
  });
  TwoPolicies store = store_in_real_time({peer.address()});
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

// --- 16: denied ---

TEST_F(RedisServerFaults, ARevokedPasswordIsATypedErrorWithoutALoop) {
  command(*server_, "acl setuser shop on '>s3cret-one' '~*' +@all");
  TwoPolicies store = store_at({"redis://shop:s3cret-one@" + gate_.address()});
  expect_full_service(store);
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
  expect_full_service(store);
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
  TwoPolicies store = store_at({"redis://shop:any@" + gate_.address()});
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

// --- 21, 22 ---

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

// --- Several servers ---

TEST_F(RedisServerFaults, AReplicaThatIsDownIsPassedOver) {
  const auto primary = Server::redis();
  TwoPolicies store = store_at({primary->address(), gate_.address()});
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
      clock_.advance(i < 4 ? short_pause : 0ms);
    }
  }
  bool admits(Access access) { return admission_->admits(":1:k", access); }

  std::unique_ptr<Server> replica_ = Server::redis();
  Gate replica_gate_{replica_->port()};
  TwoPolicies both_ = store_at({gate_.address(), replica_gate_.address()});
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
  ASSERT_FALSE(makes_no_system_call([] { ::getppid(); })) << "it would be noticed";
  gate_.down();
  replica_gate_.down();
  call_five_times([&] { EXPECT_FALSE(cache_.set("k", 1)); });
  call_five_times([&] { EXPECT_FALSE(cache_.get("k")); });
  ASSERT_FALSE(admits(Access::read) || admits(Access::write));
  EXPECT_TRUE(makes_no_system_call([&] {
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
}  // namespace polycache::testing
