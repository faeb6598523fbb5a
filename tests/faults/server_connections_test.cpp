// What must be survived with every server: how many connections there are, of many threads, after
// a pause, after a restart, and in a fork's child.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fork_while_connecting.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/registry.h"
#include "server_faults.h"
#include "support/gate.h"
#include "two_policies.h"

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Lt;
using ::testing::SizeIs;

namespace polycache::testing {
namespace {

using Kind = BackendError::Kind;
using State = CircuitBreaker::State;
using Steady = std::chrono::steady_clock;

// Threads hold what they have until it may be released.
class Held {
 public:
  void hold() {
    std::unique_lock lock(mutex_);
    ++holding_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return released_; });
  }
  void wait_for(int threads) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return holding_ == threads; });
  }
  void release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;  // guards the next
  std::condition_variable changed_;
  int holding_ = 0;
  bool released_ = false;
};

void join(std::vector<std::thread>& threads) {
  for (std::thread& thread : threads) thread.join();
}

// --- 13: storms ---

TEST_P(ServerFaults, ConnectionAttemptsBackOff) {
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

TEST_P(ServerFaults, ManyThreadsMeetARestartedServerWithoutAStorm) {
  TwoPolicies store = store_in_real_time({server_->address()});
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
  join(threads);
  const std::int64_t connections = kind_.connections_received(*server_);
  std::cout << kind_.name << ": 64 threads met a restarted server with " << connections
            << " connections\n";
  EXPECT_LE(connections, 64) << "with those of this test";
}

TEST_P(ServerFaults, SixtyFourThreadsDoNotStormAServerThatComesBack) {
  TwoPolicies store = store_in_real_time({gate_.address()}, {{"timeout", std::string("5s")}});
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
  join(threads);
  const std::size_t all = gate_.connections_ever() - before;
  std::cout << kind_.name << ", 64 threads: " << calls << " calls, " << tries
            << " connections tried while the server was away, " << all - tries
            << " until all went on; full service after " << first.count() << " ms\n";
  // Each of the connections that broke once, in the very moment when the server went, and
  // then one at a time; each of the 32 once when it was back; health asks, too.
  EXPECT_LT(tries, 300U);
  EXPECT_LT(all - tries, 100U);
  EXPECT_LE(gate_.most_connections(), 2 * 32U + 8U) << "closing takes the gate a moment";
}

// --- 14: idle ---

TEST_P(ServerFaults, AConnectionThatWasClosedWhileIdleIsNotNoticed) {
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
TEST_P(ServerFaults, AnAddAfterALongPauseFindsALivingConnection) {
  expect_healed();
  gate_.close_connections();
  std::this_thread::sleep_for(1500ms);  // by the machine's clock, as for a server's idle timeout
  EXPECT_TRUE(strict_.add("new", 1));
  expect_healed();
}

TEST_P(ServerFaults, AConnectionIsIdleForAMinuteUnlessSaidOtherwise) {
  strict_.set("k", "v");
  clock_.advance(59s);
  EXPECT_EQ(strict_.get("k"), "v");
  EXPECT_EQ(gate_.connections_ever(), 1U);
  clock_.advance(60s);
  EXPECT_EQ(strict_.get("k"), "v");
  EXPECT_EQ(gate_.connections_ever(), 2U);
}

TEST_P(ServerFaults, AnIdleConnectionIsClosed) {
  TwoPolicies store = store_at({gate_.address()}, {{"idle_timeout", std::string("10s")}});
  store.strict().set("k", "v");
  store.strict().get("k");
  EXPECT_EQ(gate_.connections_ever(), 1U);
  clock_.advance(11s);
  EXPECT_EQ(store.strict().get("k"), "v");
  EXPECT_EQ(gate_.connections_ever(), 2U) << "not the old one";
  EXPECT_TRUE(soon([&] { return gate_.connections() == 1; }));
}

TEST_P(ServerFaults, UnneededConnectionsAreClosed) {
  TwoPolicies store = store_at({gate_.address()}, {{"idle_timeout", std::string("10s")}});
  store.open().set("k", 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20; ++n) store.open().get("k");
    });
  }
  join(threads);
  clock_.advance(11s);
  store.open().get("k");
  clock_.advance(5s);
  store.open().get("k");
  EXPECT_TRUE(soon([&] { return gate_.connections() == 1; })) << gate_.connections();
}

// --- 68 and the pool ---

TEST_P(ServerFaults, ManyThreadsOpenNoMoreThanMaxConnections) {
  const std::int64_t without = kind_.connections_now(*server_);  // its own, and the question's
  for (const std::size_t limit : {8U, 32U}) {
    SCOPED_TRACE(limit);
    OptionMap options;
    if (limit != 32) options["max_connections"] = static_cast<std::int64_t>(limit);
    Gate gate(service_.port);
    TwoPolicies store = store_in_real_time({gate.address()}, std::move(options));
    const std::int64_t received = kind_.connections_received(*server_);
    std::atomic<int> hits{0};
    std::barrier together(500);  // ended threads would have connections closed
    std::vector<std::thread> threads;
    threads.reserve(500);
    for (int i = 0; i < 500; ++i) {
      threads.emplace_back([&, i] {
        const std::string key = "k" + std::to_string(i);
        const auto error = failure_of([&] {
          for (int n = 0; n < 4; ++n) {
            store.strict().set(key, n);
            hits += store.strict().get<int>(key) == n ? 1 : 0;
          }
        });
        if (error) ADD_FAILURE() << error->what();
        together.arrive_and_wait();
      });
    }
    std::int64_t most = 0;
    std::size_t questions = 1;
    EXPECT_TRUE(soon([&] {
      most = std::max(most, kind_.connections_now(*server_));
      ++questions;
      return hits >= 1600;
    }));
    join(threads);
    EXPECT_EQ(hits, 2000);
    EXPECT_LE(gate.most_connections(), limit);
    EXPECT_LE(gate.connections_ever(), limit) << "each was opened once";
    const auto ours = static_cast<std::int64_t>(limit);
    EXPECT_LE(most, without + ours + 8) << "questions that the server has not closed yet";
    EXPECT_LE(kind_.connections_received(*server_) - received,
              static_cast<std::int64_t>(limit + questions));
    EXPECT_TRUE(soon([&] { return kind_.connections_now(*server_) <= without + ours; }));
    expect_full_service(store.strict());
  }
}

TEST_P(ServerFaults, AThreadThatEndsLeavesItsConnectionToOthers) {
  for (int i = 0; i < 50; ++i) {
    std::thread([&] { EXPECT_TRUE(strict_.set("k", i)); }).join();
  }
  EXPECT_EQ(strict_.get<int>("k"), 49);
  EXPECT_EQ(gate_.connections_ever(), 1U);
}

TEST_P(ServerFaults, ANestedUseTakesAnotherConnectionBelowTheLimit) {
  strict_.set("outer", "o");
  strict_.set("inner", "i");
  std::optional<std::string> inner;
  EXPECT_TRUE(strict_.visit("outer", [&](std::string_view) { inner = strict_.get("inner"); }));
  EXPECT_EQ(inner, "i");
  EXPECT_EQ(gate_.connections_ever(), 2U);

  // At the limit there is none to wait for but the one's own.
  TwoPolicies one =
      store_at({gate_.address()}, {{"max_connections", std::int64_t{1}}, {"timeout", "1s"}});
  std::optional<BackendError> error;
  EXPECT_TRUE(one.strict().visit(
      "outer", [&](std::string_view) { error = failure_of([&] { one.strict().get("inner"); }); }));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::overloaded);
  EXPECT_THAT(error->what(), HasSubstr("max_connections"));
  EXPECT_EQ(one.strict().get("inner"), "i");
  EXPECT_EQ(one.health("strict").breaker, State::closed) << "the server did nothing";
}

TEST_P(ServerFaults, WaitingForAConnectionCountsAgainstTheLimit) {
  TwoPolicies store =
      store_at({gate_.address()}, {{"max_connections", std::int64_t{1}}, {"timeout", "500ms"}});
  EXPECT_TRUE(serves_soon(store));
  strict_.set("k", "v", never);
  Held held;
  std::thread holder([&] {
    EXPECT_TRUE(soon([&] {
      clock_.advance(long_pause);
      const auto look = [&](std::string_view) { held.hold(); };
      return !failure_of([&] { EXPECT_TRUE(store.strict().visit("k", look)); });
    }));
  });
  held.wait_for(1);
  std::optional<BackendError> error;
  const auto time = time_of([&] { error = failure_of([&] { store.strict().get("k"); }); });
  held.release();
  holder.join();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::overloaded);
  EXPECT_THAT(error->what(), HasSubstr("max_connections"));
  EXPECT_THAT(time, AllOf(Ge(operation_timeout - 10ms), Lt(time_limit)));
  EXPECT_TRUE(serves_soon(store));
  expect_healed();
}

// --- 42: forks ---

// Whether the work in a fork's child returns true; `meanwhile` runs in the parent.
bool succeeds_in_child(
    const std::function<bool()>& work, const std::function<void()>& meanwhile = [] {}) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work() ? 0 : 1);
  meanwhile();
  int status = -1;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

TEST_P(ServerFaults, AForksChildOpensConnectionsOfItsOwn) {
  strict_.set("k", "parent");
  const std::size_t before = gate_.connections_ever();
  EXPECT_TRUE(succeeds_in_child(
      [&] {
        bool good = !open_.get("other");
        for (int i = 0; i < 100; ++i) good = good && strict_.get("k") == "parent";
        return good && strict_.set("child", "was here");
      },
      [&] {
        for (int i = 0; i < 100; ++i) EXPECT_EQ(strict_.get("k"), "parent");
      }));
  EXPECT_EQ(gate_.connections_ever(), before + 2) << "one for each alias";
  EXPECT_EQ(strict_.get("child"), "was here");
  EXPECT_EQ(gate_.connections_ever(), before + 2) << "the parent's is still its own";
  expect_healed();
}

// g++ 12's AddressSanitizer does not hold its allocator's locks over a fork.
#if !defined(__SANITIZE_ADDRESS__)
// Other threads of the parent are in the middle of an operation, and hold all connections.
TEST_P(ServerFaults, AForkWhileThreadsWorkIsSafe) {
  constexpr int thread_count = 4;
  TwoPolicies store =
      store_in_real_time({gate_.address()}, {{"max_connections", std::int64_t{thread_count}}});
  store.strict().set("k", "v");
  Held held;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < thread_count; ++i) {
    threads.emplace_back([&] {
      const bool found = store.strict().visit("k", [&](std::string_view) { held.hold(); });
      right += found && store.strict().get("k") == "child" ? 1 : 0;
    });
  }
  held.wait_for(thread_count);
  EXPECT_TRUE(succeeds_in_child(
      [&] { return store.strict().get("k") == "v" && store.strict().set("k", "child"); }));
  held.release();
  join(threads);
  EXPECT_EQ(right, thread_count);
  EXPECT_THAT(store.warnings(Warning::Kind::degraded), IsEmpty());
  expect_full_service(store.strict());
}

// No thread of the child holds the resolver's locks.
TEST_P(ServerFaults, AForkWhileThreadsConnectHangsNoChild) {
  TwoPolicies store =
      store_in_real_time({server_->address()}, {{"idle_timeout", std::string("1ms")}});
  EXPECT_EQ(children_that_hang(store, 60), 0);
  expect_full_service(store.strict());
}
#endif

}  // namespace
}  // namespace polycache::testing
