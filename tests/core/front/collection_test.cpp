// Cache::collection(): names, what a collection has from its cache, and what happens to it when its
// cache moves on. That keys do not meet is in the conformance suite.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Collection : public ::testing::Test {
 protected:
  Collection() : registry_(config(10s), environment()), cache_(registry_["default"]) {}

  static Config config(std::chrono::seconds timeout, const std::string& location = "") {
    return {.caches = {{"default",
                        {.backend = "memory",
                         .location = {location},
                         .timeout = timeout,
                         .key_prefix = "shop",
                         .version = 3}}}};
  }
  Environment environment() {
    return {.clock = &clock_, .linked_plugins = {&testing::memory_store}};
  }

  testing::ManualClock clock_;
  CacheRegistry registry_;
  Cache& cache_;
};

TEST_F(Collection, NamesAndKeysAreEscaped) {
  EXPECT_EQ(cache_.final_key("k"), "shop:3:k");
  EXPECT_EQ(cache_.collection("users").final_key("k"), "shop:~c:users:3:k");
  EXPECT_EQ(cache_.collection("a:b c%").final_key("k"), "shop:~c:a%3Ab%20c%25:3:k");
  EXPECT_EQ(cache_.collection("users").collection("a").final_key("k"), "shop:~c:users:~c:a:3:k");
  EXPECT_NE(cache_.collection("users:~c:a").final_key("k"),
            cache_.collection("users").collection("a").final_key("k"));
}

TEST_F(Collection, ANameThatIsEmptyOrLongIsRefused) {
  EXPECT_THROW(cache_.collection(""), ValueError);
  EXPECT_NO_THROW(cache_.collection(std::string(100, 'n')));
  try {
    cache_.collection(std::string(101, 'n'));
    FAIL() << "accepted";
  } catch (const ValueError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("default: collection: the name \"nnn"),
                                    HasSubstr("has 101 bytes; give one of 1 to 100")));
  }
}

TEST_F(Collection, HasTheDefaultsAndTheCountsOfItsCache) {
  Cache& users = cache_.collection("users");
  EXPECT_EQ(users.alias(), "default");
  EXPECT_EQ(users.version(), 3);
  users.set("k", 1);
  EXPECT_EQ(users.get<int>("k"), 1);
  EXPECT_EQ(users.get_or_set<int>("k", [] { return 2; }), 1);
  EXPECT_EQ(cache_.statistics().hits, 2U);
  clock_.advance(10s);
  EXPECT_FALSE(users.contains("k"));
}

TEST_F(Collection, MovesOnWithItsCache) {
  Cache& users = cache_.collection("users");
  Cache& inner = users.collection("inner");
  users.set("k", 1);
  registry_.reconfigure(config(1h, "elsewhere"));
  registry_["default"];
  EXPECT_FALSE(users.contains("k"));
  users.set("k", 2);
  inner.set("k", 2);
  clock_.advance(30min);
  EXPECT_EQ(users.get<int>("k"), 2);
  EXPECT_EQ(inner.get<int>("k"), 2);
  EXPECT_EQ(&registry_["default"].collection("users"), &users);
}

TEST_F(Collection, ACacheDoesNotMoveOnWhileItsCollectionIsInUse) {
  Cache& users = cache_.collection("users");
  users.get_or_set<int>("k", [&] {
    registry_.reconfigure(config(1h, "elsewhere"));
    registry_["default"].set("k", 1);
    users.set("other", 1);
    EXPECT_TRUE(users.contains("other"));
    return 1;
  });
  EXPECT_TRUE(users.contains("other"));
  EXPECT_TRUE(cache_.contains("k"));
  registry_["default"];
  EXPECT_FALSE(users.contains("other"));
  EXPECT_FALSE(cache_.contains("k"));
}

TEST_F(Collection, EndsWithItsRegistry) {
  auto registry = std::make_unique<CacheRegistry>(config(10s), environment());
  Cache& users = (*registry)["default"].collection("users");
  users.set("k", 1);
  Cache& cache = (*registry)["default"];
  registry.reset();
  EXPECT_THROW(users.get("k"), CacheError);
  try {
    cache.collection("others");
    FAIL() << "a collection of a cache that has ended";
  } catch (const CacheError& error) {
    EXPECT_THAT(error.what(), HasSubstr("is gone")) << error.what();
  }
}

TEST_F(Collection, BelongsToTheCacheThatWasOpened) {
  const std::unique_ptr<Cache> mine = registry_.open("default");
  EXPECT_NE(&mine->collection("users"), &cache_.collection("users"));
  mine->collection("users").set("k", 1);
  EXPECT_EQ(cache_.collection("users").get<int>("k"), 1);
  mine->close();
  EXPECT_EQ(mine->collection("users").get<int>("k"), 1);
}

TEST_F(Collection, CountsWhatMatches) {
  Cache& users = cache_.collection("users");
  EXPECT_EQ(users.count(), 0U);
  for (int i = 0; i < 25; ++i) users.set("user:" + std::to_string(i), i);
  users.set("other", 1);
  users.set("user:1", 1, {.version = 4});
  EXPECT_EQ(users.count(), 26U);
  EXPECT_EQ(users.count("user:*"), 25U);
  EXPECT_EQ(users.count("*", {.version = 4}), 1U);
  EXPECT_EQ(cache_.count(), 0U);
}

}  // namespace
}  // namespace polycache
