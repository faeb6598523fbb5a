#include "polycache/executor.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace polycache {
namespace {

static_assert(!std::is_copy_constructible_v<Job>);

TEST(Job, IsCalledOnceAndIsEmptyAfterwards) {
  int calls = 0;
  Job job = [&calls] { ++calls; };
  EXPECT_TRUE(job);
  std::move(job)();
  EXPECT_FALSE(job);
  EXPECT_EQ(calls, 1);
}

TEST(Job, OwnsWhatCannotBeCopied) {
  auto number = std::make_unique<int>(7);
  int seen = 0;
  Job job = [number = std::move(number), &seen] { seen = *number; };
  Job moved = std::move(job);
  EXPECT_FALSE(job);  // NOLINT(bugprone-use-after-move): a moved job is empty
  std::move(moved)();
  EXPECT_EQ(seen, 7);
}

TEST(Job, DestroysItsFunctionAfterTheCallAndWithoutOne) {
  const auto held = std::make_shared<int>(0);
  Job called = [held] {};
  Job dropped = [held] {};
  EXPECT_EQ(held.use_count(), 3);
  std::move(called)();
  EXPECT_EQ(held.use_count(), 2);
  dropped = Job();
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Job, IsEmptyAfterItHasThrown) {
  Job job = [] { throw std::runtime_error("of the job"); };
  EXPECT_THROW(std::move(job)(), std::runtime_error);
  EXPECT_FALSE(job);  // NOLINT(bugprone-use-after-move)
}

// Runs each job at once, until it is shut.
class InPlace final : public Executor {
 public:
  bool post(Job job) override {
    if (shut) return false;
    std::move(job)();
    return true;
  }
  bool shut = false;
};

TEST(Executor, TellsWhetherItAcceptsAJob) {
  InPlace executor;
  int calls = 0;
  EXPECT_TRUE(executor.post([&calls] { ++calls; }));
  executor.shut = true;
  EXPECT_FALSE(executor.post([&calls] { ++calls; }));
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace polycache
