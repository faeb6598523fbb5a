#include "polycache/author/spin_lock.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace polycache {
namespace {

using namespace std::chrono_literals;

TEST(SpinLock, AdmitsOneThreadAtATime) {
  SpinLock lock;
  long counter = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        const std::lock_guard guard(lock);
        ++counter;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(counter, 20'000);
  EXPECT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
}

TEST(SpinLock, WaitsForALongHolder) {
  SpinLock lock;
  lock.lock();
  std::atomic<bool> entered{false};
  std::thread waiter([&] {
    const std::lock_guard guard(lock);
    entered = true;
  });
  std::this_thread::sleep_for(20ms);  // long enough that the waiter naps
  EXPECT_FALSE(entered);
  lock.unlock();
  waiter.join();
  EXPECT_TRUE(entered);
}

// Its sleep is no point of cancellation: an exception would end the process there.
TEST(SpinLock, AThreadThatIsCancelledWhileItWaitsGetsTheLockFirst) {
  SpinLock lock;
  lock.lock();
  std::atomic<bool> waits{false};
  std::atomic<bool> had_it{false};
  std::thread thread([&] {
    waits = true;
    lock.lock();
    had_it = true;
    lock.unlock();
    pthread_testcancel();
    ADD_FAILURE() << "was not cancelled";
  });
  while (!waits) std::this_thread::yield();
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(pthread_cancel(thread.native_handle()), 0);
  std::this_thread::sleep_for(20ms);
  lock.unlock();
  thread.join();
  EXPECT_TRUE(had_it);
}

}  // namespace
}  // namespace polycache
