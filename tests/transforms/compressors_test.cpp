// What is the same for all stock compressors: which values they compress, and how much memory bytes
// from a store can claim.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/compressor.h"
#include "polycache/author/crc32c.h"
#include "polycache/error.h"
#include "polycache/testing/test_context.h"
#include "transforms/samples.h"
#include "transforms/stock_transforms.h"

namespace {

std::atomic<std::size_t> largest_allocation{0};

void* allocate(std::size_t size) {
  std::size_t largest = largest_allocation.load();
  while (largest < size && !largest_allocation.compare_exchange_weak(largest, size)) {
  }
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

// What strings and containers allocate. The libraries' own contexts are not counted.
void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace polycache::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::size_t header_bytes = 8;
constexpr std::size_t mib = std::size_t{1} << 20U;

const std::string entry_head(32, 'h');
const TransformContext usual_context{.final_key = ":1:key", .head = entry_head};

std::string number(std::uint32_t value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

// A stored value with the right checksum that claims this size.
std::string forged(std::uint32_t size, std::string_view compressed) {
  return number(size) + number(crc32c(compressed, crc32c(number(size)))) + std::string(compressed);
}

class StockCompressors : public ::testing::TestWithParam<StockTransform> {
 protected:
  std::unique_ptr<Transform> make(const OptionMap& options = {}) {
    return context_.make_transform(*GetParam().plugin, options);
  }
  std::string problem_of(const OptionMap& options) {
    try {
      make(options);
      return "";
    } catch (const ConfigError& error) {
      return error.what();
    }
  }
  // The stored form of a value; empty if it is better stored as it is.
  static std::string apply(Transform& transform, std::string_view value) {
    std::string stored;
    return transform.apply(value, usual_context, stored) ? stored : "";
  }
  static std::optional<std::string> revert(Transform& transform, std::string_view stored) {
    std::string value;
    return transform.revert(stored, usual_context, value) ? std::optional(value) : std::nullopt;
  }
  // The compressed bytes of a value, without the header.
  static std::string compressed(Transform& transform, std::string_view value) {
    return apply(transform, value).substr(header_bytes);
  }

  TestContext context_;
};

INSTANTIATE_TEST_SUITE_P(All, StockCompressors, ::testing::ValuesIn(stock_compressors()),
                         [](const auto& tested) { return tested.param.name(); });

// --- Which values are compressed ---

TEST_P(StockCompressors, CompressFrom1KiBOn) {
  const auto transform = make();
  EXPECT_THAT(apply(*transform, structured(1023)), IsEmpty());
  EXPECT_THAT(apply(*transform, structured(1024)), Not(IsEmpty()));
}

TEST_P(StockCompressors, CompressFromMinBytesToMaxBytes) {
  const auto transform = make({{"min_bytes", std::int64_t{300}}, {"max_bytes", std::int64_t{400}}});
  EXPECT_THAT(apply(*transform, structured(299)), IsEmpty());
  EXPECT_THAT(apply(*transform, structured(300)), Not(IsEmpty()));
  EXPECT_THAT(apply(*transform, structured(400)), Not(IsEmpty()));
  EXPECT_THAT(apply(*transform, structured(401)), IsEmpty());
}

TEST_P(StockCompressors, StoreAsItIsWhatDoesNotShrink) {
  const auto transform = make();
  for (const std::size_t size : {std::size_t{1024}, std::size_t{5000}, 3 * mib}) {
    EXPECT_THAT(apply(*transform, random_bytes(size)), IsEmpty()) << size;
  }
}

// From values that hardly shrink to values that shrink much: an entry that is compressed is a tenth
// smaller, its head included, and there are both.
TEST_P(StockCompressors, CompressOnlyIfTheEntryIsATenthSmaller) {
  const auto transform = make({{"min_bytes", std::int64_t{0}}});
  for (const std::size_t size : {std::size_t{100}, std::size_t{1024}, std::size_t{20'000}}) {
    std::size_t applied = 0;
    constexpr std::size_t steps = 50;
    for (std::size_t step = 0; step <= steps; ++step) {
      const std::size_t noise = size * step / steps;
      const std::string value = random_bytes(noise) + std::string(size - noise, 'a');
      const std::string stored = apply(*transform, value);
      if (stored.empty()) continue;
      ++applied;
      EXPECT_LE((stored.size() + entry_head.size()) * 10, value.size() * 9);
      EXPECT_EQ(revert(*transform, stored), value);
    }
    EXPECT_GT(applied, 10U) << size;
    EXPECT_LT(applied, steps) << size;
  }
}

TEST_P(StockCompressors, EveryLevelReadsWhatAnotherWrote) {
  const std::string value = structured(20'000);
  const auto usual = make();
  for (const std::int64_t level : {1, 3, 9}) {
    const auto other = make({{"level", level}});
    EXPECT_EQ(revert(*usual, apply(*other, value)), value) << level;
    EXPECT_EQ(revert(*other, apply(*usual, value)), value) << level;
  }
}

TEST_P(StockCompressors, OptionsThatMakeNoSenseAreErrors) {
  EXPECT_THAT(problem_of({{"min_bytes", std::int64_t{-1}}}), HasSubstr("options.min_bytes: "));
  EXPECT_THAT(problem_of({{"max_bytes", std::int64_t{0}}}), HasSubstr("options.max_bytes: "));
  EXPECT_THAT(problem_of({{"max_bytes", std::string("2GiB")}}),
              HasSubstr("options.max_bytes: expected at most 1GiB"));
  EXPECT_THAT(problem_of({{"max_bytes", std::string("512B")}}),
              HasSubstr("options.min_bytes: is larger than max_bytes"));
  EXPECT_THAT(problem_of({{"level", std::int64_t{100}}}), HasSubstr("options.level: "));
  EXPECT_EQ(problem_of({{"max_bytes", std::string("1GiB")}}), "");
}

// --- Bytes that claim much ---

class CompressionBombs : public StockCompressors {
 protected:
  // Reverts, and returns how large the largest allocation was meanwhile.
  std::size_t memory_of(Transform& transform, std::string_view stored) {
    largest_allocation = 0;
    try {
      outcome_ = revert(transform, stored);
      message_.clear();
    } catch (const std::length_error& error) {
      outcome_ = std::nullopt;
      message_ = error.what();
    }
    return largest_allocation;
  }

  std::optional<std::string> outcome_;
  std::string message_;
};

INSTANTIATE_TEST_SUITE_P(All, CompressionBombs, ::testing::ValuesIn(stock_compressors()),
                         [](const auto& tested) { return tested.param.name(); });

TEST_P(CompressionBombs, AreRefusedBeforeMemoryIsTaken) {
  const auto transform = make();
  const std::string harmless = compressed(*transform, structured(2000));
  for (const std::uint32_t claim : {0xffffffffU, 0x80000000U, 64U * 1024 * 1024 + 1}) {
    EXPECT_LT(memory_of(*transform, forged(claim, harmless)), mib) << claim;
    EXPECT_EQ(outcome_, std::nullopt);
    EXPECT_EQ(message_, "it claims " + std::to_string(claim) +
                            " bytes, and the option max_bytes allows 67108864");
  }
}

// A reader with a lower limit than the writer.
TEST_P(CompressionBombs, AreRefusedAlthoughTheyAreWellFormed) {
  const std::string bomb = apply(*make(), std::string(48 * mib, '\0'));
  ASSERT_LT(bomb.size(), mib);
  const auto careful = make({{"max_bytes", std::string("1MiB")}});
  EXPECT_LT(memory_of(*careful, bomb), mib);
  EXPECT_EQ(outcome_, std::nullopt);
  EXPECT_THAT(message_, HasSubstr("the option max_bytes allows 1048576"));
}

TEST_P(CompressionBombs, ThatNoCompressorCanHaveMadeTakeNoMemory) {
  const auto transform = make();
  EXPECT_LT(memory_of(*transform, forged(60 * mib, "0123456789")), mib);
  EXPECT_EQ(outcome_, std::nullopt);
}

TEST_P(CompressionBombs, ThatClaimLessOrMoreThanTheyHoldAreRefused) {
  const auto transform = make();
  const std::string value = structured(5000);
  const std::string good = compressed(*transform, value);
  EXPECT_EQ(revert(*transform, forged(5000, good)), value);
  for (const std::uint32_t claim : {0U, 1U, 4999U, 5001U, 6000U}) {
    EXPECT_EQ(revert(*transform, forged(claim, good)), std::nullopt) << claim;
  }
}

TEST_P(CompressionBombs, OfRandomBytesAreRefused) {
  const auto transform = make();
  for (unsigned seed = 0; seed < 2000; ++seed) {
    const std::string bytes = forged(2000, random_bytes(1 + seed % 400, seed));
    ASSERT_LT(memory_of(*transform, bytes), mib) << seed;
    ASSERT_EQ(outcome_, std::nullopt) << seed;
  }
}

}  // namespace
}  // namespace polycache::testing
