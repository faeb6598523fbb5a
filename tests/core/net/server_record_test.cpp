// What the stores behind a server share: the pace of reconnecting, and what is known of a server.

#include "polycache/net/server_record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "polycache/net/deadline.h"
#include "polycache/net/reconnect_pace.h"
#include "polycache/testing/manual_clock.h"

namespace polycache::net {
namespace {

using namespace std::chrono_literals;
using testing::ManualClock;
using Kind = BackendError::Kind;

class ReconnectPaceTest : public ::testing::Test {
 protected:
  void fail() {
    const auto ticket = pace_.enter();
    ASSERT_TRUE(ticket);
    pace_.failed(*ticket);
  }

  ManualClock clock_;
  ReconnectPace pace_{clock_, 1000ms};
};

TEST_F(ReconnectPaceTest, EveryThreadMayConnectBeforeTheFirstFailure) {
  EXPECT_TRUE(pace_.enter());
  EXPECT_TRUE(pace_.enter());
  EXPECT_FALSE(pace_.is_pausing());
  EXPECT_EQ(pace_.pause_left(), 0ms);
}

TEST_F(ReconnectPaceTest, PausesAfterAFailureThenAdmitsOneThread) {
  fail();
  EXPECT_TRUE(pace_.is_pausing());
  EXPECT_FALSE(pace_.enter());
  EXPECT_GE(pace_.pause_left(), 16ms);
  EXPECT_LE(pace_.pause_left(), 24ms);
  clock_.advance(24ms);
  EXPECT_TRUE(pace_.enter());
  EXPECT_FALSE(pace_.enter());
}

TEST_F(ReconnectPaceTest, PausesGrowUpToASecond) {
  std::chrono::milliseconds expected = 20ms;
  for (int i = 0; i < 10; ++i) {
    fail();
    const auto pause = pace_.pause_left();
    EXPECT_GE(pause, expected - expected / 5) << i;
    EXPECT_LE(pause, expected + expected / 5) << i;
    expected = std::min(expected * 2, std::chrono::milliseconds(1000));
    clock_.advance(pause);
  }
}

TEST_F(ReconnectPaceTest, ASuccessAdmitsAllAndResetsThePause) {
  for (int i = 0; i < 5; ++i) {
    fail();
    clock_.advance(1200ms);
  }
  ASSERT_TRUE(pace_.enter());
  pace_.succeeded();
  EXPECT_FALSE(pace_.is_pausing());
  EXPECT_TRUE(pace_.enter());
  fail();
  EXPECT_LE(pace_.pause_left(), 24ms);
}

TEST_F(ReconnectPaceTest, ConcurrentFailuresStartOnePause) {
  const auto first = pace_.enter();
  const auto second = pace_.enter();
  pace_.failed(*first);
  pace_.failed(*second);
  EXPECT_LE(pace_.pause_left(), 24ms);
  clock_.advance(24ms);
  fail();
  EXPECT_LE(pace_.pause_left(), 48ms);
}

TEST_F(ReconnectPaceTest, AnAttemptThatTakesTooLongAdmitsAnotherThread) {
  fail();
  clock_.advance(24ms);
  const auto slow = pace_.enter();
  ASSERT_TRUE(slow);
  clock_.advance(999ms);
  EXPECT_FALSE(pace_.enter());
  clock_.advance(1ms);
  EXPECT_TRUE(pace_.enter());
  pace_.failed(*slow);  // too late to count
  EXPECT_GT(pace_.pause_left(), 900ms);
}

TEST_F(ReconnectPaceTest, AReturnedTicketAdmitsTheNextThread) {
  fail();
  clock_.advance(24ms);
  pace_.leave(*pace_.enter());
  EXPECT_TRUE(pace_.enter());
}

TEST_F(ReconnectPaceTest, AnAttemptMadeRegardlessCountsOnce) {
  fail();
  const auto ticket = pace_.current();
  pace_.failed(ticket);
  EXPECT_GT(pace_.pause_left(), 24ms);  // the second pause
  pace_.failed(ticket);
  EXPECT_LE(pace_.pause_left(), 48ms);
}

TEST_F(ReconnectPaceTest, OneOfManyThreadsIsAdmitted) {
  fail();
  clock_.advance(24ms);
  std::atomic<int> admitted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      if (pace_.enter()) admitted.fetch_add(1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(admitted, 1);
}

class ServerRecordTest : public ::testing::Test {
 protected:
  ManualClock clock_;
  ServerRecord record_{"host:1", clock_, 1000ms};
};

TEST_F(ServerRecordTest, KeepsTheReasonOfTheLastFailureWithoutTheServersName) {
  EXPECT_EQ(record_.last_failure(), "");
  record_.remember(BackendError(Kind::timeout, "host:1", "no answer"));
  EXPECT_EQ(record_.last_failure(), "no answer");
  record_.remember(BackendError(Kind::protocol, "", "nonsense"));
  EXPECT_EQ(record_.last_failure(), "nonsense");
}

TEST_F(ServerRecordTest, ADeniedAttemptIsTheReasonOfThePauseUntilTheNextOne) {
  EXPECT_EQ(record_.kind_of_pause(), Kind::unreachable);
  record_.connect_failed(*record_.pace().enter(), Kind::denied);
  EXPECT_EQ(record_.kind_of_pause(), Kind::denied);
  clock_.advance(24ms);
  record_.connect_failed(*record_.pace().enter(), Kind::timeout);
  EXPECT_EQ(record_.kind_of_pause(), Kind::unreachable);
  clock_.advance(48ms);
  record_.connect_failed(*record_.pace().enter(), Kind::denied);
  record_.connected();
  EXPECT_EQ(record_.kind_of_pause(), Kind::unreachable);
  EXPECT_FALSE(record_.pace().is_pausing());
}

TEST_F(ServerRecordTest, AdmitsAllUnlessItPausesOrItsBreakerIsOpen) {
  EXPECT_TRUE(record_.admits_all());
  record_.connect_failed(*record_.pace().enter(), Kind::unreachable);
  EXPECT_FALSE(record_.admits_all());
  record_.connected();
  EXPECT_TRUE(record_.admits_all());
  for (int i = 0; i < 5; ++i) record_.breaker().failed(Access::read, Kind::timeout);
  EXPECT_FALSE(record_.admits_all());
}

TEST(Deadline, HalfwayLeavesHalfOfTheTime) {
  const Deadline end = coarse_now() + 1000ms;
  const auto left = halfway_to(end) - coarse_now();
  EXPECT_LE(left, 500ms);
  EXPECT_GE(left, 300ms);
}

}  // namespace
}  // namespace polycache::net
