#include "polycache/transforms/zstd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "polycache/author/crc32c.h"
#include "polycache/testing/test_context.h"
#include "transforms/samples.h"

namespace polycache::testing {
namespace {

constexpr std::size_t header_bytes = 8;
const TransformContext usual_context{.final_key = ":1:key", .head = {}};

template <class Number>
std::string bytes_of(Number number) {
  std::string bytes(sizeof(number), '\0');
  std::memcpy(bytes.data(), &number, sizeof(number));
  return bytes;
}

std::string with_header(std::uint32_t size, std::string_view frame) {
  const std::string claim = bytes_of(size);
  return claim + bytes_of(crc32c(frame, crc32c(claim))) + std::string(frame);
}

class ZstdTest : public ::testing::Test {
 protected:
  std::optional<std::string> revert(std::string_view stored) {
    std::string value;
    return transform_->revert(stored, usual_context, value) ? std::optional(value) : std::nullopt;
  }

  TestContext context_;
  std::unique_ptr<Transform> transform_ = context_.make_transform(zstd::plugin);
};

// Other programs can read it: the bytes after the header are what the command "zstd" writes.
TEST_F(ZstdTest, WritesAStandardFrame) {
  const std::string value = structured(5000);
  std::string stored;
  ASSERT_TRUE(transform_->apply(value, usual_context, stored));
  std::string read(value.size(), '\0');
  EXPECT_EQ(ZSTD_decompress(read.data(), read.size(), stored.data() + header_bytes,
                            stored.size() - header_bytes),
            value.size());
  EXPECT_EQ(read, value);
}

TEST_F(ZstdTest, ReadsTheFrameOfAnotherProgram) {
  const std::string value = structured(5000);
  std::string frame(ZSTD_compressBound(value.size()), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), value.data(), value.size(), 19));
  EXPECT_EQ(revert(with_header(5000, frame)), value);
}

// Our header is honest, and the frame inside claims 2^60 bytes.
TEST_F(ZstdTest, AFrameThatClaims2To60BytesIsRefused) {
  const std::string magic = bytes_of(std::uint32_t{ZSTD_MAGICNUMBER});
  const std::string single_segment_with_8_bytes_of_size(1, '\xe0');
  const std::string last_block_of_500_times_x = bytes_of(std::uint32_t{500 << 3 | 1 << 1 | 1});
  std::string frame = magic + single_segment_with_8_bytes_of_size;
  std::string honest = frame + bytes_of(std::uint64_t{500});
  honest += last_block_of_500_times_x.substr(0, 3) + "x";
  ASSERT_EQ(revert(with_header(500, honest)), std::string(500, 'x'));
  frame += bytes_of(std::uint64_t{1} << 60U) + last_block_of_500_times_x.substr(0, 3) + "x";
  ASSERT_EQ(ZSTD_getFrameContentSize(frame.data(), frame.size()), std::uint64_t{1} << 60U);
  EXPECT_EQ(revert(with_header(500, frame)), std::nullopt);
}

}  // namespace
}  // namespace polycache::testing
