// The default pool of a registry, and CacheRegistry::shutdown(). What a pool does when its process
// exits: tests/lifetime/background_exit_test.cpp.

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "core/registry/background_work.h"
#include "polycache/polycache.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;

// --- The default pool. ---

TEST_F(BackgroundWork, RunsAJobOnAnotherThread) {
  Event ran;
  std::thread::id where;
  ASSERT_TRUE(post([&] {
    where = std::this_thread::get_id();
    ran.set();
  }));
  ASSERT_TRUE(ran.wait());
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST_F(BackgroundWork, StartsThreadsWhenJobsNeedThem) {
  EXPECT_TRUE(pools_have_threads(0));
  EXPECT_NE(registry_->executor(), nullptr);
  EXPECT_TRUE(pools_have_threads(0));
  EXPECT_TRUE(runs_a_job());
  EXPECT_TRUE(pools_have_threads(1));
  occupy();
  EXPECT_TRUE(pools_have_threads(2));
}

TEST_F(BackgroundWork, RunsNoMoreThanTwoJobsAtOnce) {
  occupy();
  Event third;
  ASSERT_TRUE(post([&] {
    EXPECT_GE(shared_->completed, 1);
    third.set();
  }));
  EXPECT_TRUE(pools_have_threads(2));
  shared_->release.set();
  EXPECT_TRUE(third.wait());
}

TEST_F(BackgroundWork, RefusesJobsWhenItsQueueIsFull) {
  occupy();
  std::atomic<int> ran{0};
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(post([&] { ++ran; })) << i;
  const auto held = std::make_shared<int>(0);
  EXPECT_FALSE(post([held, &ran] { ran = -1'000'000; }));
  EXPECT_EQ(held.use_count(), 1) << "a job that is refused is destroyed";
  EXPECT_EQ(ran, 0);
  shared_->release.set();
  EXPECT_TRUE(registry_->shutdown(patience));
  EXPECT_EQ(ran, 1000);
}

TEST_F(BackgroundWork, AcceptsJobsAgainWhenItsQueueHasRoom) {
  occupy();
  Event last;
  for (int i = 0; i < 999; ++i) ASSERT_TRUE(post([] {})) << i;
  ASSERT_TRUE(post([&] { last.set(); }));
  ASSERT_FALSE(post([] {}));
  shared_->release.set();
  ASSERT_TRUE(last.wait());
  EXPECT_TRUE(runs_a_job());
}

TEST_F(BackgroundWork, RefusesAnEmptyJob) { EXPECT_FALSE(post(Job())); }

TEST_F(BackgroundWork, AJobThatThrowsEndsNothing) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(post([] { throw std::runtime_error("of the job"); }));
    ASSERT_TRUE(post([] { throw 1; }));
  }
  EXPECT_TRUE(runs_a_job());
}

TEST_F(BackgroundWork, AJobThatEndsItsThreadTakesNoThreadFromThePool) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(post([] { pthread_exit(nullptr); }));
  }
  occupy();
  shared_->release.set();
  EXPECT_TRUE(registry_->shutdown(patience));
}

TEST_F(BackgroundWork, AJobMayPostAnotherJob) {
  Event ran;
  ASSERT_TRUE(post([&] { EXPECT_TRUE(post([&] { ran.set(); })); }));
  EXPECT_TRUE(ran.wait());
}

TEST_F(BackgroundWork, AJobMayUseCaches) {
  Event ran;
  ASSERT_TRUE(post([&] {
    EXPECT_FALSE((*registry_)["a"].get("k"));
    ran.set();
  }));
  EXPECT_TRUE(ran.wait());
}

TEST_F(BackgroundWork, ItsThreadsBlockSignalsButThoseOfTheirOwnFaults) {
  Event ran;
  sigset_t set;
  ASSERT_TRUE(post([&] {
    pthread_sigmask(SIG_BLOCK, nullptr, &set);
    ran.set();
  }));
  ASSERT_TRUE(ran.wait());
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGCHLD, SIGUSR1, SIGPIPE}) {
    EXPECT_EQ(sigismember(&set, signal), 1) << strsignal(signal);
  }
  EXPECT_EQ(sigismember(&set, SIGSEGV), 0);
  pthread_sigmask(SIG_BLOCK, nullptr, &set);
  EXPECT_EQ(sigismember(&set, SIGTERM), 0) << "the thread that posted keeps its mask";
}

TEST_F(BackgroundWork, RegistriesHavePoolsOfTheirOwn) {
  CacheRegistry other(two_aliases(), environment());
  EXPECT_NE(other.executor(), registry_->executor());
  occupy();
  Event ran;
  ASSERT_TRUE(other.executor()->post([&] { ran.set(); }));
  EXPECT_TRUE(ran.wait());
  EXPECT_TRUE(pools_have_threads(3));
}

TEST_F(BackgroundWork, AReconfigurationKeepsThePoolAndItsJobs) {
  const std::shared_ptr<Executor> before = registry_->executor();
  occupy();
  registry_->reconfigure(two_aliases());
  registry_->reconfigure(two_aliases(), environment());
  EXPECT_EQ(registry_->executor(), before);
  EXPECT_TRUE(pools_have_threads(2));
  shared_->release.set();
  EXPECT_TRUE(runs_a_job());
  EXPECT_TRUE(registry_->shutdown(patience));
  EXPECT_EQ(shared_->completed, 2);
}

// --- shutdown(). ---

TEST_F(BackgroundWork, ShutdownCompletesTheAcceptedJobs) {
  occupy();
  std::atomic<int> ran{0};
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(post([&] { ++ran; }));
  std::thread releases([&] { shared_->release.set(); });
  EXPECT_TRUE(registry_->shutdown(patience));
  EXPECT_EQ(ran, 10);
  EXPECT_EQ(shared_->completed, 2);
  EXPECT_TRUE(pools_have_threads(0));
  releases.join();
}

TEST_F(BackgroundWork, ShutdownWaitsUntilTheObjectsOfItsThreadsAreDestroyed) {
  struct Tells {
    ~Tells() { *ended = true; }
    bool* ended = nullptr;
  };
  bool ended = false;  // read without a lock
  ASSERT_TRUE(post([&] {
    thread_local Tells tells;
    tells.ended = &ended;
  }));
  EXPECT_TRUE(registry_->shutdown(patience));
  EXPECT_TRUE(ended);
}

TEST_F(BackgroundWork, ShutdownDropsJobsThatWaitAtTheDeadline) {
  occupy();
  const auto held = std::make_shared<int>(0);
  ASSERT_TRUE(post([held] { ADD_FAILURE() << "ran"; }));
  EXPECT_FALSE(registry_->shutdown(0s));
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(shared_->completed, 0) << "jobs that run are not disturbed";
  shared_->release.set();
  EXPECT_TRUE(registry_->shutdown(patience)) << "waits for them when it is called again";
  EXPECT_EQ(shared_->completed, 2);
}

TEST_F(BackgroundWork, ShutdownTakesAnyDeadline) {
  EXPECT_TRUE(runs_a_job());
  shared_->release.set();
  EXPECT_TRUE(registry_->shutdown(std::chrono::milliseconds::max()));
  EXPECT_TRUE(registry_->shutdown(std::chrono::milliseconds::min()));
}

TEST_F(BackgroundWork, AfterShutdownJobsAreRefusedAndCachesWork) {
  EXPECT_TRUE(registry_->shutdown(0s)) << "nothing was posted";
  const auto held = std::make_shared<int>(0);
  EXPECT_FALSE(post([held] {}));
  EXPECT_EQ(held.use_count(), 1);
  registry_->reconfigure(two_aliases(), environment());
  EXPECT_FALSE(post([] {})) << "a reconfiguration starts no background work again";
  EXPECT_TRUE((*registry_)["a"].set("k", 1));
  EXPECT_EQ((*registry_)["a"].get_or_set("k", [] { return 2; }), 2);
}

TEST_F(BackgroundWork, ShutdownInAJobDoesNotWaitForThatJob) {
  Event ended;
  ASSERT_TRUE(post([&] {
    EXPECT_TRUE(registry_->shutdown(patience));
    EXPECT_FALSE(post([] {}));
    ended.set();
  }));
  EXPECT_TRUE(ended.wait());
}

TEST_F(BackgroundWork, ShutdownInAJobWaitsForOtherJobs) {
  Event ended;
  std::atomic<bool> slow_ended{false};
  Event both;
  ASSERT_TRUE(post([&] {
    both.wait();
    EXPECT_TRUE(registry_->shutdown(patience));
    EXPECT_TRUE(slow_ended);
    ended.set();
  }));
  ASSERT_TRUE(post([&] {
    both.set();
    std::this_thread::sleep_for(20ms);  // longer than a shutdown that does not wait
    slow_ended = true;
  }));
  EXPECT_TRUE(ended.wait());
}

TEST_F(BackgroundWork, TwoJobsMayShutTheirPoolDownAtTheSameTime) {
  occupy();
  Event both;
  std::atomic<int> inside{0};
  std::atomic<int> ended{0};
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(post([&] {
      if (++inside == 2) both.set();
      both.wait();
      EXPECT_TRUE(registry_->shutdown(patience));
      ++ended;
    }));
  }
  shared_->release.set();
  ASSERT_TRUE(both.wait());
  EXPECT_TRUE(registry_->shutdown(patience));
  EXPECT_EQ(ended, 2);
}

TEST_F(BackgroundWork, NoJobRunsAfterShutdownHasReturnedTrue) {
  std::atomic<int> accepted{0};
  std::atomic<int> ran{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        if (post([&] { ++ran; })) ++accepted;
      }
    });
  }
  while (accepted < 1000) std::this_thread::yield();
  EXPECT_TRUE(registry_->shutdown(patience));
  const int at_shutdown = ran;
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ran, at_shutdown);
  EXPECT_EQ(ran, accepted);
}

}  // namespace
}  // namespace polycache
