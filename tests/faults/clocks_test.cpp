// Clocks that jump, differ, or stand still.

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>

#include "polycache/backends/locmem.h"
#include "polycache/registry.h"
#include "polycache/testing/manual_clock.h"

using namespace std::chrono_literals;

namespace polycache {
namespace {

class Clocks : public ::testing::Test {
 protected:
  void set_wall_clock_by(std::chrono::hours by) { clock_.set_wall_clock(clock_.system_now() + by); }

  testing::ManualClock clock_;
  CacheRegistry registry_{{.caches = {{"a", {.backend = "locmem"}}}},
                          {.clock = &clock_, .linked_plugins = {&locmem::plugin}}};
  Cache& a_ = registry_["a"];
};

TEST_F(Clocks, ALifetimeInThisProcessGoesByTheSteadyOne) {
  a_.set("k", 1, 10min);
  set_wall_clock_by(-1h);
  clock_.advance(9min);
  EXPECT_TRUE(a_.contains("k"));
  set_wall_clock_by(24h);
  EXPECT_TRUE(a_.contains("k"));
  clock_.advance(2min);
  EXPECT_FALSE(a_.contains("k"));
}

TEST_F(Clocks, AMomentIsTurnedIntoADurationWhenItIsGiven) {
  a_.set("k", 1, clock_.system_now() + 10min);
  set_wall_clock_by(1h);
  EXPECT_TRUE(a_.contains("k")) << "it was ten minutes then";
  clock_.advance(11min);
  EXPECT_FALSE(a_.contains("k"));
}

// CLOCK_BOOTTIME goes on while the machine sleeps; CLOCK_MONOTONIC does not.
TEST(RealClock, CountsTheTimeThatTheMachineSleeps) {
  const auto boot_time = [] {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  };
  const auto before = boot_time();
  const auto asked = Clock::real().steady_now().time_since_epoch();
  const auto after = boot_time();
  EXPECT_LE(before, asked);
  EXPECT_LE(asked, after);
}

}  // namespace
}  // namespace polycache
