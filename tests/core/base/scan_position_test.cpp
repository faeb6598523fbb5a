// Cursors of stores that are listed part by part.

#include "polycache/author/scan_position.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "polycache/error.h"

namespace polycache {
namespace {

TEST(ScanPosition, IsTheSameAfterItsCursor) {
  for (const ScanPosition position :
       {ScanPosition{}, ScanPosition{2, 5}, ScanPosition{0, UINT64_MAX}}) {
    const ScanPosition read = ScanPosition::from(position.cursor(), 3, UINT64_MAX, "test");
    EXPECT_EQ(read.part, position.part);
    EXPECT_EQ(read.point, position.point);
  }
  EXPECT_EQ(ScanPosition({.part = 1, .point = 7}).cursor(), "1.7");
}

TEST(ScanPosition, BeginsWithTheEmptyCursor) {
  const ScanPosition begin = ScanPosition::from("", 1, 0, "test");
  EXPECT_EQ(begin.part, 0U);
  EXPECT_EQ(begin.point, 0U);
}

TEST(ScanPosition, RefusesACursorOfAnotherStore) {
  for (const char* const cursor :
       {"x", "1", "1.", ".1", "1.x", "1.2x", "-1.0", "1.-1", " 1.0", "3.0", "1.10", "0.0.0",
        "99999999999999999999.0", "0.99999999999999999999"}) {
    try {
      ScanPosition::from(cursor, 3, 9, "test");
      ADD_FAILURE() << cursor;
    } catch (const ValueError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(cursor));
      EXPECT_THAT(error.what(), ::testing::HasSubstr("test"));
    }
  }
}

}  // namespace
}  // namespace polycache
