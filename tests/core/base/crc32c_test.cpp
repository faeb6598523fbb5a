#include "polycache/author/crc32c.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <string_view>

#include "base/crc32c_tables.h"

namespace polycache {
namespace {

// Those of RFC 3720, B.4, and the one that every catalogue of CRCs names.
TEST(Crc32c, HasTheValuesOfItsStandard) {
  std::string ascending(32, '\0');
  std::iota(ascending.begin(), ascending.end(), '\0');
  const std::string descending(ascending.rbegin(), ascending.rend());
  for (const auto function : {crc32c, crc32c_by_tables}) {
    EXPECT_EQ(function("", 0), 0U);
    EXPECT_EQ(function("123456789", 0), 0xe3069283U);
    EXPECT_EQ(function(std::string(32, '\0'), 0), 0x8a9136aaU);
    EXPECT_EQ(function(std::string(32, '\xff'), 0), 0x62a8ab43U);
    EXPECT_EQ(function(ascending, 0), 0x46dd794eU);
    EXPECT_EQ(function(descending, 0), 0x113fdb5cU);
  }
}

TEST(Crc32c, IsTheSameByInstructionByTablesAndInPieces) {
  std::mt19937 random(1);
  for (std::size_t size = 0; size < 200; ++size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    const std::string_view all = bytes;
    const std::size_t cut = size == 0 ? 0 : random() % size;
    const std::uint32_t crc = crc32c(all);
    EXPECT_EQ(crc32c_by_tables(all), crc);
    EXPECT_EQ(crc32c(all.substr(cut), crc32c(all.substr(0, cut))), crc);
    EXPECT_EQ(crc32c_by_tables(all.substr(cut), crc32c(all.substr(0, cut))), crc);
  }
}

}  // namespace
}  // namespace polycache
