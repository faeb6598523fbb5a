#include "polycache/author/object_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

namespace polycache {
namespace {

std::atomic<int> alive{0};

struct Counted {
  Counted() { ++alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --alive; }

  std::atomic<int> users{0};
  int uses = 0;  // by one thread at a time
};

std::unique_ptr<Counted> make() { return std::make_unique<Counted>(); }

TEST(ObjectPool, GivesTheSameObjectAgain) {
  ObjectPool<Counted> pool;
  pool.take(make)->uses = 5;
  EXPECT_EQ(pool.take(make)->uses, 5);
  EXPECT_EQ(alive, 1);
}

TEST(ObjectPool, GivesEachOfTwoUsersItsOwn) {
  ObjectPool<Counted> pool;
  const auto one = pool.take(make);
  const auto other = pool.take(make);
  EXPECT_NE(&*one, &*other);
}

TEST(ObjectPool, DestroysWhatItHasNoRoomFor) {
  {
    ObjectPool<Counted, 2> pool;
    {
      const auto a = pool.take(make);
      const auto b = pool.take(make);
      const auto c = pool.take(make);
      EXPECT_EQ(alive, 3);
    }
    EXPECT_EQ(alive, 2);
  }
  EXPECT_EQ(alive, 0);
}

TEST(ObjectPool, IsAsBeforeIfNoObjectCanBeMade) {
  ObjectPool<Counted> pool;
  EXPECT_THROW(pool.take([]() -> std::unique_ptr<Counted> { throw std::runtime_error("none"); }),
               std::runtime_error);
  EXPECT_EQ(pool.take(make)->uses, 0);
}

TEST(ObjectPool, HasOneUserForAnObjectHoweverManyThreadsAsk) {
  ObjectPool<Counted, 4> pool;
  std::atomic<bool> shared{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        const auto lease = pool.take(make);
        if (lease->users.fetch_add(1, std::memory_order_relaxed) != 0) shared = true;
        ++lease->uses;  // a data race if two threads have it
        lease->users.fetch_sub(1, std::memory_order_relaxed);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(shared);
  EXPECT_LE(alive, 4);
}

}  // namespace
}  // namespace polycache
