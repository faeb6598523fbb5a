#include "polycache/net/circuit_breaker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "polycache/net/backoff.h"
#include "polycache/testing/manual_clock.h"

using namespace std::chrono_literals;

namespace polycache {
namespace {

using testing::ManualClock;
using Change = CircuitBreaker::Change;
using Kind = BackendError::Kind;
using State = CircuitBreaker::State;

class CircuitBreakerTest : public ::testing::Test {
 protected:
  void fail(int times, Access access = Access::read, Kind kind = Kind::unreachable) {
    for (int i = 0; i < times; ++i) breaker_.failed(access, kind);
  }
  // The pause is over, whatever its jitter.
  void wait(std::chrono::milliseconds pause) { clock_.advance(pause + pause / 5 + 1ms); }

  ManualClock clock_;
  CircuitBreaker breaker_{clock_};
};

TEST_F(CircuitBreakerTest, OpensAfterFiveFailuresInARow) {
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(breaker_.failed(Access::read, Kind::timeout), Change::none);
    EXPECT_TRUE(breaker_.admit(Access::read));
  }
  EXPECT_EQ(breaker_.failed(Access::read, Kind::timeout), Change::opened);
  EXPECT_EQ(breaker_.state(Access::read), State::open);
  EXPECT_FALSE(breaker_.admit(Access::read));
  EXPECT_FALSE(breaker_.admit(Access::write));
  EXPECT_TRUE(breaker_.refuses(Access::read));
  EXPECT_GT(breaker_.pause_left(Access::read), 700ms);
  EXPECT_LE(breaker_.pause_left(Access::read), 1200ms);
}

TEST_F(CircuitBreakerTest, ASuccessInBetweenBeginsTheRowAnew) {
  for (int i = 0; i < 4; ++i) {
    fail(4);
    EXPECT_EQ(breaker_.succeeded(Access::read), Change::none);
    clock_.advance(11s);
    EXPECT_EQ(breaker_.succeeded(Access::read), Change::none);
    EXPECT_TRUE(breaker_.calm());
  }
  EXPECT_EQ(breaker_.state(Access::read), State::closed);
}

TEST_F(CircuitBreakerTest, OpensWhenHalfOfTwentyCallsFailed) {
  Change last = Change::none;
  int calls = 0;
  for (; calls < 100 && last == Change::none; ++calls) {
    last = calls % 2 == 0 ? breaker_.succeeded(Access::read)
                          : breaker_.failed(Access::read, Kind::unreachable);
  }
  EXPECT_EQ(last, Change::opened);
  EXPECT_GE(calls, 20);
  EXPECT_LE(calls, 24) << "the first success came before there was anything to count";
}

TEST_F(CircuitBreakerTest, AThirdOfTheCallsMayFail) {
  for (int i = 0; i < 300; ++i) {
    const Change change = i % 3 == 0 ? breaker_.failed(Access::read, Kind::unreachable)
                                     : breaker_.succeeded(Access::read);
    ASSERT_EQ(change, Change::none);
    clock_.advance(10ms);
  }
}

TEST_F(CircuitBreakerTest, FailuresOfLongAgoDoNotCount) {
  for (int i = 0; i < 19; ++i) {
    fail(1);
    breaker_.succeeded(Access::read);
    clock_.advance(11s);
    breaker_.succeeded(Access::read);
    EXPECT_TRUE(breaker_.calm());
  }
  EXPECT_TRUE(breaker_.admit(Access::read));
}

TEST_F(CircuitBreakerTest, OneProbeAtATimeAndItsSuccessCloses) {
  fail(5);
  wait(1s);
  EXPECT_FALSE(breaker_.refuses(Access::read));
  EXPECT_TRUE(breaker_.admit(Access::read)) << "the probe";
  EXPECT_EQ(breaker_.state(Access::read), State::half_open);
  EXPECT_FALSE(breaker_.admit(Access::read)) << "while it is under way";
  EXPECT_TRUE(breaker_.refuses(Access::read));
  EXPECT_EQ(breaker_.succeeded(Access::read), Change::closed);
  EXPECT_EQ(breaker_.state(Access::read), State::closed);
  EXPECT_TRUE(breaker_.admit(Access::read));
}

TEST_F(CircuitBreakerTest, PausesGrowToHalfAMinuteAndBeginAnewAfterASuccess) {
  fail(5);
  for (const std::chrono::milliseconds pause : {1s, 2s, 4s, 8s, 16s, 30s, 30s}) {
    EXPECT_GE(breaker_.pause_left(Access::read), pause * 4 / 5);
    EXPECT_LE(breaker_.pause_left(Access::read), pause * 6 / 5 + 1ms);
    wait(pause);
    ASSERT_TRUE(breaker_.admit(Access::read));
    EXPECT_EQ(breaker_.failed(Access::read, Kind::timeout), Change::none) << "open already";
  }
  wait(30s);
  ASSERT_TRUE(breaker_.admit(Access::read));
  breaker_.succeeded(Access::read);
  fail(5);
  EXPECT_LE(breaker_.pause_left(Access::read), 1200ms);
}

TEST_F(CircuitBreakerTest, AProbeWithoutAResultExpires) {
  fail(5);
  wait(1s);
  ASSERT_TRUE(breaker_.admit(Access::read));
  clock_.advance(29s);
  EXPECT_FALSE(breaker_.admit(Access::read));
  clock_.advance(1s);
  EXPECT_TRUE(breaker_.admit(Access::read));
}

TEST_F(CircuitBreakerTest, CallsFromBeforeItOpenedChangeNothing) {
  fail(5);
  EXPECT_EQ(breaker_.succeeded(Access::read), Change::none);
  EXPECT_EQ(breaker_.failed(Access::read, Kind::timeout), Change::none);
  EXPECT_EQ(breaker_.state(Access::read), State::open);
}

TEST_F(CircuitBreakerTest, AServerThatTakesNoWritesIsRead) {
  fail(4, Access::write, Kind::overloaded);
  EXPECT_EQ(breaker_.failed(Access::write, Kind::overloaded), Change::opened);
  EXPECT_FALSE(breaker_.admit(Access::write));
  EXPECT_TRUE(breaker_.admit(Access::read));
  EXPECT_EQ(breaker_.state(Access::read), State::closed);
  EXPECT_EQ(breaker_.state(Access::write), State::open);
  for (int i = 0; i < 10; ++i) breaker_.succeeded(Access::read);
  EXPECT_FALSE(breaker_.admit(Access::write)) << "reads say nothing about writes";
  wait(1s);
  EXPECT_TRUE(breaker_.admit(Access::write));
  EXPECT_FALSE(breaker_.admit(Access::write));
  EXPECT_EQ(breaker_.succeeded(Access::write), Change::closed);
}

TEST_F(CircuitBreakerTest, ADeniedCallDoesNotOpenTheBreaker) {
  fail(50, Access::read, Kind::denied);
  fail(50, Access::write, Kind::unsupported);
  EXPECT_TRUE(breaker_.calm());
  fail(5);
  wait(1s);
  ASSERT_TRUE(breaker_.admit(Access::read));
  EXPECT_EQ(breaker_.failed(Access::read, Kind::denied), Change::closed) << "it did answer";
}

TEST_F(CircuitBreakerTest, AWriteIsNoProbeWhereWritesAreRefused) {
  fail(5);
  wait(1s);
  fail(5, Access::write, Kind::read_only);
  EXPECT_FALSE(breaker_.admit(Access::write));
  EXPECT_TRUE(breaker_.admit(Access::read)) << "the probe is still to be had";
}

TEST_F(CircuitBreakerTest, AWriteThatProbesAndHearsNothingEndsTheProbe) {
  fail(5, Access::write, Kind::storage);
  wait(1s);
  ASSERT_TRUE(breaker_.admit(Access::write));
  breaker_.failed(Access::write, Kind::timeout);
  EXPECT_LE(breaker_.pause_left(Access::write), 2400ms);
  wait(2s);
  EXPECT_TRUE(breaker_.admit(Access::write));
}

TEST_F(CircuitBreakerTest, WhatOtherThreadsReportDoesNotDecideAboutTheProbe) {
  fail(5);
  wait(1s);
  ASSERT_TRUE(breaker_.admit(Access::read));
  std::thread([&] {  // calls from before it opened
    EXPECT_EQ(breaker_.failed(Access::read, Kind::timeout), Change::none);
    EXPECT_EQ(breaker_.succeeded(Access::read), Change::none);
  })
      .join();
  EXPECT_EQ(breaker_.state(Access::read), State::half_open);
  EXPECT_EQ(breaker_.succeeded(Access::read), Change::closed);
}

TEST_F(CircuitBreakerTest, OfManyThreadsOneProbes) {
  fail(5);
  wait(1s);
  std::atomic<int> admitted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) admitted += breaker_.admit(Access::read) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(admitted, 1);
}

TEST(BackoffTest, GrowsToItsLimitWithJitter) {
  Backoff backoff(20ms, 100ms, 7);
  for (const auto pause : {20ms, 40ms, 80ms, 100ms, 100ms}) {
    const auto next = backoff.next();
    EXPECT_GE(next, pause * 4 / 5);
    EXPECT_LE(next, pause * 6 / 5);
  }
  backoff.reset();
  EXPECT_LE(backoff.next(), 24ms);
  EXPECT_NE(Backoff(20ms, 100ms, 2).next(), Backoff(20ms, 100ms, 4).next());
}

}  // namespace
}  // namespace polycache
