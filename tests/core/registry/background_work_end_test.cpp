// Background work when its registry ends, on the executor of the program, and after fork().

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "core/registry/background_work.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_executor.h"
#include "support/forks.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using polycache::testing::ManualExecutor;

// Runs f in a child of fork(); returns its status.
int status_of_child(const std::function<bool()>& f) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(static_cast<unsigned>(patience.count()));  // a deadlock ends as a failure
    _exit(f() ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

// --- The end of the registry. ---

TEST_F(BackgroundWork, TheEndOfTheRegistryDropsJobsThatWaitAndWaitsForThoseThatRun) {
  struct Releases {
    explicit Releases(std::shared_ptr<Shared> s) : shared(std::move(s)) {}
    Releases(Releases&&) = default;
    ~Releases() {
      if (shared) shared->release.set();
    }
    std::shared_ptr<Shared> shared;
  };
  // The end waits for 1 s at most, so a machine that stops for so long needs another attempt.
  int completed = 0;
  for (int attempt = 0; attempt < 5 && completed != 2; ++attempt) {
    const auto shared = std::make_shared<Shared>();
    {
      CacheRegistry registry(two_aliases(), environment());
      for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(registry.executor()->post([shared] {
          if (++shared->running == 2) shared->both_run.set();
          shared->release.wait();
          std::this_thread::sleep_for(20ms);  // longer than an end that does not wait
          ++shared->completed;
        }));
      }
      ASSERT_TRUE(shared->both_run.wait());
      ASSERT_TRUE(registry.executor()->post(
          [releases = Releases(shared)] { ADD_FAILURE() << "a job that waited ran"; }));
    }
    completed = shared->completed;
  }
  EXPECT_EQ(completed, 2);
}

TEST_F(BackgroundWork, AJobMayOutliveItsRegistryAndUseItsCache) {
  Event begins;
  Event ended;
  ASSERT_TRUE(post([&, shared = shared_, cache = std::shared_ptr<Cache>(registry_->open("a"))] {
    begins.set();
    shared->release.wait();
    EXPECT_TRUE(cache->set("k", 1));
    ended.set();
  }));
  ASSERT_TRUE(begins.wait());
  EXPECT_FALSE(registry_->shutdown(0s));
  registry_.reset();
  shared_->release.set();
  EXPECT_TRUE(ended.wait());
}

TEST_F(BackgroundWork, AJobMayDestroyItsRegistry) {
  auto owned = std::make_unique<CacheRegistry>(two_aliases(), environment());
  std::shared_ptr<Executor> executor = owned->executor();
  Event alone;
  Event ended;
  ASSERT_TRUE(executor->post([&, registry = std::move(owned)]() mutable {
    alone.wait();
    registry.reset();  // and with it the last reference to the pool
    ended.set();
  }));
  executor.reset();
  alone.set();
  EXPECT_TRUE(ended.wait());
}

TEST_F(BackgroundWork, TheExecutorOfARegistryThatHasEndedRefusesJobs) {
  const std::shared_ptr<Executor> executor = registry_->executor();
  EXPECT_TRUE(runs_a_job());
  registry_.reset();
  EXPECT_FALSE(executor->post([] {}));
}

// --- The program's executor. ---

TEST_F(BackgroundWork, JobsGoToTheExecutorOfTheProgram) {
  const auto manual = std::make_shared<ManualExecutor>();
  CacheRegistry registry(two_aliases(), environment(manual));
  int ran = 0;
  EXPECT_TRUE(registry.executor()->post([&] { ++ran; }));
  EXPECT_EQ(manual->size(), 1U);
  manual->run_all();
  EXPECT_EQ(ran, 1);
  EXPECT_TRUE(pools_have_threads(0));
  manual->refuse(true);
  EXPECT_FALSE(registry.executor()->post([&] { ++ran; }));
}

TEST_F(BackgroundWork, ShutdownGivesTheExecutorOfTheProgramNoMoreJobsAndDoesNotEndIt) {
  const auto manual = std::make_shared<ManualExecutor>();
  CacheRegistry registry(two_aliases(), environment(manual));
  EXPECT_TRUE(registry.executor()->post([] {}));
  EXPECT_TRUE(registry.shutdown(patience)) << "it waits for jobs of the pool only";
  EXPECT_FALSE(registry.executor()->post([] {}));
  EXPECT_EQ(manual->size(), 1U);
  EXPECT_EQ(manual->refused(), 0U);
  EXPECT_TRUE(manual->post([] {}));
}

TEST_F(BackgroundWork, ANewEnvironmentBringsItsExecutor) {
  const auto first = std::make_shared<ManualExecutor>();
  const auto second = std::make_shared<ManualExecutor>();
  CacheRegistry registry(two_aliases(), environment(first));
  const auto posts = [&] { ASSERT_TRUE(registry.executor()->post([] {})); };
  registry.reconfigure(two_aliases());
  posts();
  EXPECT_EQ(first->size(), 1U) << "a configuration alone changes nothing";
  EXPECT_THROW(registry.reconfigure({.caches = {{"x", {.backend = "nope"}}}}, environment(second)),
               ConfigError);
  posts();
  EXPECT_EQ(first->size(), 2U) << "nor does one that is refused";
  registry.reconfigure(two_aliases(), environment(second));
  posts();
  EXPECT_EQ(first->size(), 2U);
  EXPECT_EQ(second->size(), 1U);
  registry.reconfigure(two_aliases(), environment());
  Event ran;
  EXPECT_TRUE(registry.executor()->post([&] { ran.set(); }));
  EXPECT_TRUE(ran.wait()) << "on the default pool";
}

TEST_F(BackgroundWork, TheRegistryKeepsTheExecutorOfTheProgramAndCachesDoNot) {
  auto manual = std::make_shared<ManualExecutor>();
  const std::weak_ptr<ManualExecutor> seen = manual;
  auto registry = std::make_unique<CacheRegistry>(two_aliases(), environment(std::move(manual)));
  const std::unique_ptr<Cache> cache = registry->open("a");
  EXPECT_FALSE(seen.expired());
  registry.reset();
  EXPECT_TRUE(seen.expired());
}

// --- fork(). ---

class BackgroundWorkForks : public BackgroundWork {};

TEST_F(BackgroundWorkForks, AChildMakesThreadsOfItsOwn) {
  const std::shared_ptr<Executor> executor = registry_->executor();
  EXPECT_EQ(status_of_child([&] { return runs_a_job() && registry_->shutdown(patience); }), 0);
  if (!testing::children_of_threads_start_threads) return;
  EXPECT_TRUE(runs_a_job());
  EXPECT_EQ(status_of_child([&] {
              return runs_a_job() && runs_a_job() && registry_->shutdown(patience) && !post([] {});
            }),
            0);
  EXPECT_TRUE(runs_a_job()) << "the parent's pool goes on";
}

TEST_F(BackgroundWorkForks, JobsOfTheParentDoNotExistInTheChild) {
  occupy();
  const auto held = std::make_shared<int>(0);
  const pid_t parent = getpid();
  ASSERT_TRUE(post([held, parent] {
    if (getpid() != parent) _exit(7);
  }));
  EXPECT_EQ(status_of_child([&] {
              const bool all_ended = registry_->shutdown(patience);
              registry_.reset();
              return all_ended && held.use_count() == 2;
            }),
            0);
  shared_->release.set();
  EXPECT_TRUE(registry_->shutdown(patience));
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(BackgroundWorkForks, AChildOfARegistryThatWasShutDownRefusesJobs) {
  EXPECT_TRUE(registry_->shutdown(patience));
  EXPECT_EQ(status_of_child([&] { return !post([] {}); }), 0);
}

TEST_F(BackgroundWorkForks, AJobMayFork) {
  const pid_t parent = getpid();
  int status = -1;
  Event ended;
  ASSERT_TRUE(post([&] {
    status = status_of_child([&] {
      if (!testing::children_of_threads_start_threads) return getpid() != parent;
      return runs_a_job() && registry_->shutdown(patience);
    });
    ended.set();
  }));
  ASSERT_TRUE(ended.wait());
  EXPECT_EQ(status, 0);
}

// A child that returns from the job ends: it has no other thread.
TEST_F(BackgroundWorkForks, AChildThatReturnsFromItsJobEnds) {
  if (!testing::allocator_survives_forks || !testing::children_of_threads_start_threads) {
    GTEST_SKIP() << "the sanitizers cannot end a process whose main thread does not exist";
  }
  occupy();
  pid_t child = -1;
  Event ended;
  ASSERT_TRUE(post([&] {
    child = fork();
    if (child == 0)
      alarm(static_cast<unsigned>(patience.count()));
    else
      ended.set();
  }));
  shared_->release.set();
  ASSERT_TRUE(ended.wait());
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(runs_a_job());
}

}  // namespace
}  // namespace polycache
