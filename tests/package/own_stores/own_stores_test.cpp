// examples/custom_backend passes the suite that all stores pass; examples/custom_validation
// changes what it says it changes. Run in the folder they were built in.
#include <gtest/gtest.h>
#include <polycache/polycache.h>
#include <polycache/testing/backend_conformance.h>

#include <filesystem>
#include <string>
#include <vector>

namespace polycache::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(Folder, BackendConformance,
                         ::testing::ValuesIn(conformance_cases(
                             {.name = "Folder",
                              .backend = "folder",
                              .location = [] { return std::vector<std::string>{"folder_store"}; },
                              .plugin_path = {"custom_backend"},
                              .quirks = {.has_ttl = false,
                                         .has_compare = false,
                                         .has_erase_prefix = false,
                                         .has_scan = false,
                                         .has_renew = false,
                                         .has_tag_index = false,
                                         .has_indexes = false,
                                         .has_locks = false,
                                         .has_deques = false,
                                         .has_maintenance = false}})),
                         case_name);

Config short_keys_config() {
  return {.caches = {{"own", {.backend = "short_keys", .location = {"shared"}}},
                     {"stock", {.backend = "locmem", .location = {"shared"}}}},
          .plugin_path = {"custom_validation"}};
}

TEST(ShortKeys, RefusesLongKeysAndWarnsOfEmptyParts) {
  std::vector<std::string> warnings;
  CacheRegistry registry(short_keys_config(), {.on_warning = [&](const Warning& warning) {
                           EXPECT_EQ(warning.kind, Warning::Kind::key_custom);
                           warnings.emplace_back(warning.message);
                         }});
  auto& cache = registry["own"];
  EXPECT_TRUE(cache.set(std::string(37, 'k'), 1));  // ":1:" stands before it
  EXPECT_THROW(cache.set(std::string(38, 'k'), 1), InvalidKey);
  EXPECT_TRUE(warnings.empty());
  EXPECT_TRUE(cache.set("a//b", 1));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("empty part"), std::string::npos) << warnings[0];
}

TEST(ShortKeys, SharesTheStockStore) {
  CacheRegistry registry(short_keys_config());
  registry["own"].set("k", "from own");
  EXPECT_EQ(registry["stock"].get("k"), "from own");
  registry["stock"].erase("k");
  EXPECT_FALSE(registry["own"].get("k"));
}

TEST(ShortKeys, TakesTheOptionsOfTheStockStore) {
  Config config = short_keys_config();
  config.apply("own.options.max_entires=10");
  try {
    CacheRegistry registry(config);
    FAIL() << "an unknown option was taken";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean \"max_entries\"?"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace polycache::testing
