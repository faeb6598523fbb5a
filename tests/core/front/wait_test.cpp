// LoadOptions::wait: how long a call waits for the computation of another thread or process, and
// what a write or an erasure means for computations side by side.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>

#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "support/message_of.h"

namespace polycache {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using namespace std::chrono_literals;

class Wait : public ::testing::Test {
 protected:
  // A computation of "k" that runs until end() is called.
  class Computing {
   public:
    Computing(CacheRegistry& registry, const std::string& alias, LoadOptions options) {
      std::promise<void> started;
      result_ = std::async(std::launch::async, [&, options, alias] {
        return registry[alias].get_or_set(
            "k",
            [&] {
              started.set_value();
              end_.get_future().wait();
              return std::string("theirs");
            },
            options);
      });
      started.get_future().wait();
    }
    std::string end() {
      end_.set_value();
      return result_.get();
    }

   private:
    std::promise<void> end_;
    std::future<std::string> result_;
  };

  CacheRegistry make() {
    return CacheRegistry(Config{.caches = {{"default", {.backend = "locmem", .timeout = 100s}},
                                           {"shared", {.backend = "memory", .timeout = 100s}}}},
                         {.clock = &clock_,
                          .on_warning = {},
                          .linked_plugins = {&locmem::plugin, &testing::memory_store}});
  }
  Cache& cache() { return registry_["default"]; }
  std::function<std::string()> ours() {
    return [this] {
      ++computed_;
      return std::string("ours");
    };
  }

  testing::ManualClock clock_;
  CacheRegistry registry_ = make();
  CacheRegistry other_ = make();  // stands for another process
  std::atomic<int> computed_{0};
};

TEST_F(Wait, AfterTheWaitTheStaleValueServes) {
  const LoadOptions options{.stale_if_error = 1h, .wait = 20ms};
  cache().get_or_set("k", ours(), options);
  clock_.advance(101s);
  Computing theirs(registry_, "default", options);
  EXPECT_EQ(cache().get_or_set("k", ours(), options), "ours");
  EXPECT_EQ(computed_, 1) << "it is the older value";
  EXPECT_EQ(cache().statistics().late_loads, 1U);
  EXPECT_EQ(theirs.end(), "theirs");
  EXPECT_EQ(cache().get("k"), "theirs");
}

TEST_F(Wait, AfterTheWaitTheCallerComputesIfThereIsNoStaleValue) {
  const LoadOptions options{.wait = 20ms};
  Computing theirs(registry_, "default", options);
  EXPECT_EQ(cache().get_or_set("k", ours(), options), "ours");
  EXPECT_EQ(cache().get("k"), "ours");
  EXPECT_EQ(theirs.end(), "ours") << "the value that was stored first is for all";
}

TEST_F(Wait, WithoutWaitingEachCallComputes) {
  for (const Span wait : {Span(off), Span(0s)}) {
    cache().clear();
    Computing theirs(registry_, "default", {});
    EXPECT_EQ(cache().get_or_set("k", ours(), {.wait = wait}), "ours");
    theirs.end();
  }
}

TEST_F(Wait, WithinTheWaitTheValueOfTheOtherIsTaken) {
  Computing theirs(registry_, "default", {});
  auto waiting = std::async(std::launch::async, [&] {
    return registry_["default"].get_or_set("k", ours(), {.wait = 10min});
  });
  while (cache().statistics().waits == 0) std::this_thread::yield();
  theirs.end();
  EXPECT_EQ(waiting.get(), "theirs");
  EXPECT_EQ(computed_, 0);
}

TEST_F(Wait, AnErasureWinsOverEachComputationOfTheKey) {
  Computing theirs(registry_, "default", {});
  const auto value = cache().get_or_set("k",
                                        [&] {
                                          cache().erase("k");
                                          return std::string("ours");
                                        },
                                        {.wait = off});
  EXPECT_EQ(value, "ours");
  EXPECT_FALSE(cache().contains("k"));
  theirs.end();
  EXPECT_FALSE(cache().contains("k"));
  EXPECT_EQ(cache().statistics().discarded_loads, 2U);
}

TEST_F(Wait, AClearWinsOverEachComputation) {
  Computing theirs(registry_, "default", {});
  const auto clears = [&] {
    cache().clear();
    return 1;
  };
  cache().get_or_set("k", clears, {.wait = off});
  EXPECT_FALSE(cache().contains("k"));
  theirs.end();
  EXPECT_FALSE(cache().contains("k"));
}

TEST_F(Wait, AnErasureWinsOverAComputationInsideAnother) {
  Computing theirs(registry_, "default", {});
  cache().get_or_set("outer", [&] {
    return cache().get_or_set("k", [&] {
      cache().erase("k");
      return std::string("inner");
    });
  });
  EXPECT_FALSE(cache().contains("k"));
  theirs.end();
  EXPECT_FALSE(cache().contains("k"));
}

TEST_F(Wait, AfterTheWaitForAnotherProcessTheStaleValueServes) {
  const LoadOptions options{.stale_if_error = 1h, .lease = 10min, .wait = 20ms};
  Cache& shared = registry_["shared"];
  shared.get_or_set("k", ours(), options);
  clock_.advance(101s);
  Computing theirs(other_, "shared", options);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(shared.get_or_set("k", ours(), options), "ours");
  EXPECT_EQ(computed_, 1);
  EXPECT_EQ(theirs.end(), "theirs");
  EXPECT_EQ(shared.get_or_set("k", ours(), options), "theirs");
}

TEST_F(Wait, AfterTheWaitForAnotherProcessTheCallerComputesAndStores) {
  const LoadOptions options{.lease = 10min, .wait = 20ms};
  Cache& shared = registry_["shared"];
  shared.erase("k");
  Computing theirs(other_, "shared", options);
  EXPECT_EQ(shared.get_or_set("k", ours(), options), "ours");
  EXPECT_EQ(shared.get("k"), "ours");
  theirs.end();
  EXPECT_EQ(shared.get("k"), "ours");
}

TEST_F(Wait, GetOrSetManyTakesNoWait) {
  const auto load = [](std::span<const std::string> keys) {
    return std::vector<std::string>(keys.size());
  };
  EXPECT_THAT(message_of<ValueError>([&] {
                cache().get_or_set_many<std::string>({"k"}, load, LoadOptions{.wait = 1s});
              }),
              HasSubstr("wait"));
}

}  // namespace
}  // namespace polycache
