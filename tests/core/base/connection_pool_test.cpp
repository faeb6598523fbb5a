#include "polycache/net/connection_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "polycache/testing/manual_clock.h"

using namespace std::chrono_literals;

namespace polycache {
namespace {

using std::chrono::steady_clock;
using testing::ManualClock;

class Connection {
 public:
  explicit Connection(std::atomic<int>& made) { ++made; }
  void open() { open_ = true; }
  void close() noexcept { open_ = false; }
  bool is_open() const noexcept { return open_; }
  void abandon() noexcept { abandoned_ = true; }
  bool abandoned() const noexcept { return abandoned_; }

 private:
  bool open_ = false;
  bool abandoned_ = false;
};

class ConnectionPoolTest : public ::testing::Test {
 protected:
  using Pool = ConnectionPool<Connection>;

  steady_clock::time_point soon() const { return steady_clock::now() + 20s; }

  ManualClock clock_;
  std::atomic<int> made_{0};
  Pool pool_{{.max_connections = 3, .idle_timeout = 60s}, clock_, [this] {
               return std::make_unique<Connection>(made_);
             }};
};

TEST_F(ConnectionPoolTest, TheSameOneAgain) {
  std::size_t hint = 0;
  Connection* first = nullptr;
  {
    const Pool::Lease lease = pool_.take(hint, soon());
    ASSERT_TRUE(lease);
    lease->open();
    first = &*lease;
    EXPECT_EQ(pool_.in_use(), 1U);
  }
  EXPECT_EQ(pool_.in_use(), 0U);
  EXPECT_EQ(pool_.open_connections(), 1U);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(&*pool_.take(hint, soon()), first);
  EXPECT_EQ(made_, 1);
}

TEST_F(ConnectionPoolTest, ANestedUseGetsAnother) {
  std::size_t hint = 0;
  const Pool::Lease outer = pool_.take(hint, soon());
  const Pool::Lease inner = pool_.take(hint, soon());
  ASSERT_TRUE(inner);
  EXPECT_NE(&*outer, &*inner);
}

TEST_F(ConnectionPoolTest, WaitsUpToTheLimitIfAllAreInUse) {
  std::vector<Pool::Lease> leases;
  std::size_t hint = 0;
  for (int i = 0; i < 3; ++i) leases.push_back(pool_.take(hint, soon()));
  const auto begin = steady_clock::now();
  EXPECT_FALSE(pool_.take(hint, begin + 30ms));
  EXPECT_GE(steady_clock::now() - begin, 30ms);
  EXPECT_FALSE(pool_.take(hint, begin)) << "in the past";
  leases.pop_back();
  EXPECT_TRUE(pool_.take(hint, begin)) << "what is free is had without waiting";
}

TEST_F(ConnectionPoolTest, WaitersReceiveReturnedConnections) {
  std::vector<Pool::Lease> leases;
  std::size_t hint = 0;
  for (int i = 0; i < 3; ++i) leases.push_back(pool_.take(hint, soon()));
  std::atomic<bool> asked{false};
  std::thread waiter([&] {
    std::size_t own = 0;
    asked = true;
    EXPECT_TRUE(pool_.take(own, soon()));
  });
  while (!asked) std::this_thread::yield();
  leases.clear();
  waiter.join();
}

// g++ 12's AddressSanitizer ends the program when a cancelled thread's stack is unwound.
#if !defined(__SANITIZE_ADDRESS__)
TEST_F(ConnectionPoolTest, AThreadThatIsCancelledWhileItWaitsLeavesNothingBehind) {
  std::vector<Pool::Lease> leases;
  std::size_t hint = 0;
  for (int i = 0; i < 3; ++i) leases.push_back(pool_.take(hint, soon()));
  std::atomic<bool> asked{false};
  std::thread waiter([&] {
    std::size_t own = 0;
    asked = true;
    pool_.take(own, soon());
    ADD_FAILURE() << "it was to be cancelled";
  });
  while (!asked) std::this_thread::yield();
  ::pthread_cancel(waiter.native_handle());
  waiter.join();
  leases.clear();
  EXPECT_EQ(pool_.in_use(), 0U);
  for (int i = 0; i < 3; ++i) leases.push_back(pool_.take(hint, steady_clock::now()));
  for (const Pool::Lease& lease : leases) EXPECT_TRUE(lease);
}
#endif

TEST_F(ConnectionPoolTest, ManyThreadsShareFewConnections) {
  std::atomic<int> at_once{0};
  std::atomic<bool> too_many{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&] {
      std::size_t hint = 0;
      for (int i = 0; i < 500; ++i) {
        const Pool::Lease lease = pool_.take(hint, soon());
        if (!lease || ++at_once > 3) too_many = true;
        lease->open();
        --at_once;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(too_many);
  EXPECT_LE(made_, 3);
  EXPECT_EQ(pool_.in_use(), 0U);
}

TEST_F(ConnectionPoolTest, ClosesIdleConnections) {
  std::size_t hint = 0;
  {
    std::vector<Pool::Lease> leases;
    for (int i = 0; i < 3; ++i) {
      leases.push_back(pool_.take(hint, soon()));
      leases.back()->open();
    }
  }
  EXPECT_EQ(pool_.open_connections(), 3U);
  hint = 0;
  for (int i = 0; i < 4; ++i) {
    clock_.advance(20s);
    EXPECT_TRUE(pool_.take(hint, soon())->is_open()) << "in use all the time";
  }
  EXPECT_EQ(pool_.open_connections(), 1U) << "the others were closed on its back";
  clock_.advance(60s);
  EXPECT_FALSE(pool_.take(hint, soon())->is_open()) << "idle too long: not handed out open";
}

TEST_F(ConnectionPoolTest, AConnectionThatFailedCountsNoMore) {
  std::size_t hint = 0;
  pool_.take(hint, soon())->open();
  EXPECT_EQ(pool_.open_connections(), 1U);
  pool_.take(hint, soon())->close();
  EXPECT_EQ(pool_.open_connections(), 0U);
}

TEST_F(ConnectionPoolTest, AMakerThatThrowsLeavesTheSlotFree) {
  bool fail = true;
  Pool pool({.max_connections = 1, .idle_timeout = 1s}, clock_, [&] {
    if (fail) throw std::runtime_error("no");
    return std::make_unique<Connection>(made_);
  });
  std::size_t hint = 0;
  EXPECT_THROW(pool.take(hint, soon()), std::runtime_error);
  fail = false;
  EXPECT_TRUE(pool.take(hint, steady_clock::now()));
}

TEST_F(ConnectionPoolTest, AForksChildBeginsEmptyAndTheParentsGoOn) {
  std::size_t hint = 0;
  std::optional<Pool::Lease> held(pool_.take(hint, soon()));
  (*held)->open();
  const pid_t child = fork();
  if (child == 0) {
    std::size_t own = 0;
    bool good = pool_.open_connections() == 0 && pool_.in_use() == 0;
    good = good && !pool_.take(own, steady_clock::now())->abandoned();
    good = good && (*held)->abandoned();
    held.reset();  // the parent's: changes nothing here
    good = good && pool_.in_use() == 0;
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_FALSE((*held)->abandoned());
  held.reset();
  EXPECT_EQ(pool_.open_connections(), 1U);
}

}  // namespace
}  // namespace polycache
