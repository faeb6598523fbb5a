// What every stock transform promises, alone and in front of a store.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/transform.h"
#include "polycache/error.h"
#include "polycache/testing/test_context.h"
#include "transforms/samples.h"
#include "transforms/stock_transforms.h"

namespace polycache::testing {
namespace {

using ::testing::HasSubstr;

const TransformContext usual_context{.final_key = ":1:key", .head = "the head of the entry"};

class StockTransforms : public ::testing::TestWithParam<StockTransform> {
 protected:
  std::unique_ptr<Transform> make(OptionMap more = {}) {
    more.insert(GetParam().options.begin(), GetParam().options.end());
    return context_.make_transform(*GetParam().plugin, more);
  }

  // The stored form of a value; empty if it is better stored as it is.
  static std::string apply(Transform& transform, std::string_view value) {
    std::string stored;
    return transform.apply(value, usual_context, stored) ? stored : "";
  }

  // The value, or nothing if the bytes are refused, in whichever way.
  static std::optional<std::string> revert(Transform& transform, std::string_view stored) {
    try {
      std::string value;
      if (transform.revert(stored, usual_context, value)) return value;
    } catch (const std::exception&) {
    }
    return std::nullopt;
  }

  TestContext context_;
};

INSTANTIATE_TEST_SUITE_P(All, StockTransforms, ::testing::ValuesIn(stock_transforms()),
                         [](const auto& tested) { return tested.param.name(); });

TEST_P(StockTransforms, EveryValueComesBack) {
  const auto transform = make();
  std::size_t applied = 0;
  for (const std::string& value : samples()) {
    const std::string stored = apply(*transform, value);
    if (stored.empty()) continue;
    ++applied;
    ASSERT_EQ(revert(*transform, stored), value) << value.size() << " bytes";
  }
  EXPECT_GT(applied, 20U);
}

TEST_P(StockTransforms, EveryTruncationAndExtensionIsRefused) {
  const auto transform = make();
  const std::string stored = apply(*transform, structured(3000));
  ASSERT_FALSE(stored.empty());
  for (std::size_t size = 0; size < stored.size(); ++size) {
    ASSERT_EQ(revert(*transform, stored.substr(0, size)), std::nullopt) << size;
    ASSERT_EQ(revert(*transform, stored.substr(size + 1)), std::nullopt) << size;
  }
  EXPECT_EQ(revert(*transform, stored + '\0'), std::nullopt);
  EXPECT_EQ(revert(*transform, stored + stored), std::nullopt);
}

TEST_P(StockTransforms, EveryFlippedBitIsRefused) {
  const auto transform = make();
  const std::string stored = apply(*transform, structured(3000));
  ASSERT_FALSE(stored.empty());
  for (std::size_t bit = 0; bit < stored.size() * 8; ++bit) {
    std::string damaged = stored;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_EQ(revert(*transform, damaged), std::nullopt) << "bit " << bit;
  }
  EXPECT_EQ(revert(*transform, stored), structured(3000));  // and it is in working order still
}

TEST_P(StockTransforms, BytesFromElsewhereAreRefused) {
  const auto transform = make();
  for (unsigned seed = 0; seed < 500; ++seed) {
    ASSERT_EQ(revert(*transform, random_bytes(seed, seed)), std::nullopt) << seed;
  }
}

TEST_P(StockTransforms, ThreadsShareOneTransform) {
  const auto transform = make();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 12; ++t) {  // more than a pool keeps
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < 60; ++i) {
        const std::string value = structured(1024 + t * 1000 + i);
        if (revert(*transform, apply(*transform, value)) != value) ++wrong;
        if (i % 10 == 0 && revert(*transform, random_bytes(100, i))) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_P(StockTransforms, AnUnknownOptionIsAnErrorThatNamesIt) {
  try {
    make({{"levle", std::int64_t{3}}});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("caches.test.options.levle: unknown option"));
  }
}

}  // namespace
}  // namespace polycache::testing
