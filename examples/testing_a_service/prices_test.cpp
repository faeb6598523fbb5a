// Tests the service with the caches of the shop's own configuration, but in memory and on a clock
// that the tests move: no server, no waiting.
#include "prices.h"

#include <gtest/gtest.h>
#include <polycache/polycache.h>
#include <polycache/testing/scoped_caches.h>

#include <chrono>
#include <map>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;
using polycache::Config;
using polycache::testing::ScopedCaches;

namespace {

class PricesTest : public ::testing::Test {
 protected:
  ScopedCaches caches_{Config::from_file(SHOP_JSON)};
  std::map<std::string, Cents, std::less<>> database_{{"tea", 350}, {"milk", 120}};
  int questions_ = 0;  // to the database
  Prices prices_{[this](std::string_view product) {
    ++questions_;
    const auto found = database_.find(product);
    if (found == database_.end()) throw std::out_of_range("no such product");
    return found->second;
  }};
};

TEST_F(PricesTest, TheDatabaseIsAskedOnce) {
  EXPECT_EQ(prices_.of("tea"), 350);
  EXPECT_EQ(prices_.of("tea"), 350);
  EXPECT_EQ(questions_, 1);
}

TEST_F(PricesTest, APriceIsRememberedForFiveMinutes) {
  prices_.of("tea");
  database_["tea"] = 380;
  caches_.clock().advance(5min - 1ms);
  EXPECT_EQ(prices_.of("tea"), 350);
  caches_.clock().advance(1ms);
  EXPECT_EQ(prices_.of("tea"), 380);
}

TEST_F(PricesTest, AChangedPriceIsForgottenAtOnce) {
  prices_.of("tea");
  prices_.of("milk");
  database_["tea"] = 380;
  prices_.changed("tea");
  EXPECT_EQ(prices_.of("tea"), 380);
  EXPECT_EQ(prices_.of("milk"), 120);
  EXPECT_EQ(questions_, 3);
}

TEST_F(PricesTest, AnUnknownProductIsNotRemembered) {
  EXPECT_THROW(prices_.of("coffee"), std::out_of_range);
  database_["coffee"] = 400;
  EXPECT_EQ(prices_.of("coffee"), 400);
}

TEST_F(PricesTest, AHitIsOneQuestionToTheStore) {
  prices_.of("tea");
  caches_.recording().clear();
  prices_.of("tea");
  prices_.changed("tea");
  EXPECT_EQ(caches_.recording().text(),
            "prices: get shop:1:price:tea -> hit 350\n"
            "prices: erase shop:1:price:tea -> done\n");
}

TEST_F(PricesTest, TheShopWorksWithoutItsCache) {
  caches_.chaos("prices").set({.fail = 1});  // the server dies
  EXPECT_EQ(prices_.of("tea"), 350);
  EXPECT_EQ(prices_.of("tea"), 350);
  EXPECT_EQ(questions_, 2);
  caches_.chaos("prices").off();  // and comes back
  caches_.clock().advance(1min);  // by then it has been tried again
  prices_.of("tea");
  EXPECT_EQ(prices_.of("tea"), 350);
  EXPECT_EQ(questions_, 3);
}

TEST_F(PricesTest, APriceThatCouldNotBeForgottenIsNoSecret) {
  prices_.of("tea");
  caches_.chaos("prices").set({.fail = 1});
  EXPECT_THROW(prices_.changed("tea"), polycache::BackendError);
}

}  // namespace
