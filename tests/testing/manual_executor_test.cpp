#include "polycache/testing/manual_executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace polycache::testing {
namespace {

TEST(ManualExecutor, RunsJobsInTheirOrderWhenItIsTold) {
  ManualExecutor executor;
  std::vector<int> ran;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(executor.post([&ran, i] { ran.push_back(i); }));
  EXPECT_TRUE(ran.empty());
  EXPECT_EQ(executor.size(), 3U);
  EXPECT_TRUE(executor.run_one());
  EXPECT_EQ(ran, std::vector{0});
  EXPECT_EQ(executor.run_all(), 2U);
  EXPECT_EQ(ran, (std::vector{0, 1, 2}));
  EXPECT_TRUE(executor.empty());
  EXPECT_FALSE(executor.run_one());
  EXPECT_EQ(executor.run_all(), 0U);
}

TEST(ManualExecutor, RunAllRunsJobsThatJobsPost) {
  ManualExecutor executor;
  int ran = 0;
  executor.post([&] {
    ++ran;
    executor.post([&] { ++ran; });
  });
  EXPECT_EQ(executor.run_all(), 2U);
  EXPECT_EQ(ran, 2);
}

TEST(ManualExecutor, RefusesJobsAndKeepsThoseItHas) {
  ManualExecutor executor;
  int ran = 0;
  const auto held = std::make_shared<int>(0);
  EXPECT_TRUE(executor.post([&] { ++ran; }));
  executor.refuse(true);
  EXPECT_FALSE(executor.post([&, held] { ran += 10; }));
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(executor.refused(), 1U);
  EXPECT_EQ(executor.run_all(), 1U);
  executor.refuse(false);
  EXPECT_TRUE(executor.post([&] { ++ran; }));
  executor.run_all();
  EXPECT_EQ(ran, 2);
}

TEST(ManualExecutor, RefusesAnEmptyJob) {
  ManualExecutor executor;
  EXPECT_FALSE(executor.post(Job()));
  EXPECT_EQ(executor.refused(), 1U);
}

TEST(ManualExecutor, ThrowsWhatAJobThrowsAndKeepsTheOthers) {
  ManualExecutor executor;
  int ran = 0;
  executor.post([] { throw std::runtime_error("of the job"); });
  executor.post([&] { ++ran; });
  EXPECT_THROW(executor.run_all(), std::runtime_error);
  EXPECT_EQ(executor.size(), 1U);
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(ran, 1);
}

// A job whose destructor posts another one.
struct Posts {
  explicit Posts(ManualExecutor& e) : executor(&e) {}
  Posts(Posts&& other) noexcept : executor(other.executor) { other.executor = nullptr; }
  Posts& operator=(Posts&&) = delete;
  ~Posts() {
    if (executor != nullptr) executor->post([] {});
  }
  void operator()() const {}
  ManualExecutor* executor;
};

TEST(ManualExecutor, ClearDropsItsJobsWithoutALock) {
  ManualExecutor executor;
  executor.post(Posts(executor));
  executor.clear();
  EXPECT_EQ(executor.size(), 1U);
}

TEST(ManualExecutor, IsThreadSafe) {
  ManualExecutor executor;
  std::atomic<int> ran{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) {
        executor.post([&] { ++ran; });
        executor.run_one();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  executor.run_all();
  EXPECT_EQ(ran, 3000);
}

}  // namespace
}  // namespace polycache::testing
