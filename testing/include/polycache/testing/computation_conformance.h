// This part of the conformance suite tests get_or_set, and user code that uses the same cache.

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

// A type whose codec uses the cache that it is read through, and one whose codec throws.
struct Curious {
  std::string text;
};
struct Thrower {
  std::string text;
};
inline thread_local Cache* curious_about = nullptr;
inline void count_use(const char* key) {
  curious_about->set(key, curious_about->get<int>(key).value_or(0) + 1);
}

}  // namespace polycache::testing

template <>
struct polycache::Codec<polycache::testing::Curious> {
  static std::string_view encode(const testing::Curious& value, std::string& scratch) {
    testing::count_use("curious:encoded");
    return scratch = "c" + value.text;
  }
  static std::optional<testing::Curious> decode(std::string_view bytes) {
    const std::string copy(bytes);
    testing::count_use("curious:decoded");
    testing::curious_about->set("curious:last", copy);
    if (!copy.starts_with('c') || bytes != copy) return std::nullopt;
    return testing::Curious{copy.substr(1)};
  }
};

template <>
struct polycache::Codec<polycache::testing::Thrower> {
  static std::string_view encode(const testing::Thrower& value, std::string& scratch) {
    if (value.text == "bad") throw std::runtime_error("will not encode");
    return scratch = value.text;
  }
  static std::optional<testing::Thrower> decode(std::string_view) {
    throw std::runtime_error("will not decode");
  }
};

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

// --- get_or_set ---

TEST_P(BackendConformance, GetOrSetComputesOnce) {
  int computed = 0;
  const auto make = [&] { return ++computed; };
  EXPECT_EQ(store().get_or_set("k", make), 1);
  EXPECT_EQ(store().get_or_set("k", make), 1);
  EXPECT_EQ(store().get<int>("k"), 1);
  EXPECT_EQ(store().get_or_set("text", "value"), "value");
  EXPECT_EQ(store().get_or_set<std::int64_t>("k", 99), 1);
  store().get_or_set("short", 5, short_life());
  outlive();
  EXPECT_FALSE(store().contains("short"));
}

TEST_P(BackendConformance, GetOrSetLetsExceptionsThroughAndStoresNothing) {
  EXPECT_THROW(store().get_or_set("k", []() -> int { throw std::out_of_range("no"); }),
               std::out_of_range);
  EXPECT_FALSE(store().contains("k"));
  EXPECT_EQ(store().get_or_set("k", [] { return 3; }), 3);
}

TEST_P(BackendConformance, ThirtyTwoThreadsComputeOnce) {
  constexpr int threads = 32;
  std::atomic<int> computed{0};
  std::atomic<int> right{0};
  on_threads(threads, [&](int) {
    const int value = store().get_or_set("k", [&] {
      // Long enough for all threads to call: each has missed and joined, or will find the value.
      std::this_thread::sleep_for(20ms);
      return ++computed;
    });
    right += value == 1 ? 1 : 0;
  });
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(right, threads);
}

TEST_P(BackendConformance, AThrowingOwnerWakesTheNext) {
  std::atomic<int> tries{0};
  std::atomic<int> thrown{0};
  std::atomic<int> right{0};
  on_threads(8, [&](int) {
    try {
      right += store().get_or_set("k", [&] {
        if (tries.fetch_add(1) == 0) {
          std::this_thread::sleep_for(10ms);
          throw std::runtime_error("the first one fails");
        }
        return 7;
      }) == 7;
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  });
  EXPECT_EQ(thrown, 1);
  EXPECT_EQ(right, 7);
  EXPECT_EQ(tries, 2);
}

TEST_P(BackendConformance, ComputationsThatNeedEachOtherEnd) {
  // Both threads are inside their first computation before either requests the other's key.
  Meeting inside(2);
  on_threads(2, [&](int i) {
    const std::string first = i == 0 ? "a" : "b";
    const std::string second = i == 0 ? "b" : "a";
    const int value = store().get_or_set(first, [&] {
      inside.arrive_and_wait();
      return 1 + store().get_or_set(second, [] { return 1; });
    });
    // 1 if the other thread's inner computation of the same key was stored first.
    EXPECT_TRUE(value == 1 || value == 2) << value;
  });
}

TEST_P(BackendConformance, AKeyInsideItsOwnComputationIsAnError) {
  try {
    store().get_or_set("self", [&] { return store().get_or_set("self", [] { return 1; }); });
    FAIL() << "did not throw";
  } catch (const CacheError& error) {
    EXPECT_NE(std::string(error.what()).find("self"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(store().contains("self"));
}

// --- User code that uses the same cache during an operation ---

TEST_P(BackendConformance, CodecsMayUseTheCacheTheyServe) {
  curious_about = &store();
  EXPECT_TRUE(store().set("k", Curious{"x"}));
  EXPECT_EQ(store().get<Curious>("k")->text, "x");
  EXPECT_EQ(store().get<int>("curious:encoded"), 1);
  EXPECT_EQ(store().get<int>("curious:decoded"), 1);
  EXPECT_EQ(store().get("curious:last"), "cx");
  store().set_many({{"k1", Curious{"1"}}, {"k2", Curious{"2"}}});
  const auto both = store().get_many<Curious>({"k1", "k2"});
  EXPECT_EQ(both[0]->text + both[1]->text, "12");
  EXPECT_EQ(store().get_or_set("k3", [] { return Curious{"3"}; }).text, "3");
  EXPECT_EQ(store().pop<Curious>("k3")->text, "3");
  curious_about = nullptr;
}

TEST_P(BackendConformance, ACodecThatThrowsIsAMissOrReachesTheCaller) {
  EXPECT_THROW(store().set("k", Thrower{"bad"}), std::runtime_error);
  EXPECT_THROW(store().set_many({{"a", 1}, {"k", Thrower{"bad"}}}), std::runtime_error);
  EXPECT_FALSE(store().contains("a"));
  EXPECT_FALSE(store().contains("k"));
  EXPECT_TRUE(store().set("k", Thrower{"good"}));
  EXPECT_FALSE(store().get<Thrower>("k"));
  EXPECT_EQ(warnings_of(Warning::Kind::undecodable_value), 1U);
  EXPECT_EQ(store().get_or_set("new", [] { return Thrower{"bad"}; }).text, "bad");
  EXPECT_FALSE(store().contains("new"));
  EXPECT_EQ(store().get("k"), "good");
  EXPECT_THROW(store().visit("k", [](std::string_view) { throw std::out_of_range("mine"); }),
               std::out_of_range);
  EXPECT_EQ(store().get("k"), "good");
}

TEST_P(BackendConformance, HandlersMayUseTheCacheAndThrow) {
  store().set("k", "text");
  on_warning_ = [this](const Warning&) {
    registry()["store"].set("handled", 1);
    throw std::domain_error("a warning is a failure here");
  };
  EXPECT_THROW(store().get<int>("k"), std::domain_error);
  EXPECT_EQ(store().get<int>("handled"), 1);
  EXPECT_EQ(store().get("k"), "text");
}

TEST_P(BackendConformance, ComputationsMayUseTheCache) {
  const int value = store().get_or_set("outer", [&] {
    store().set("inside", 1);
    return store().get_or_set("inner", [&] { return *store().get<int>("inside") + 1; }) + 1;
  });
  EXPECT_EQ(value, 3);
  EXPECT_EQ(store().get<int>("outer"), 3);
  EXPECT_EQ(store().get<int>("inner"), 2);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
