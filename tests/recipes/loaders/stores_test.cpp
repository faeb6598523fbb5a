// Loaders over each store that several processes can share; a second registry is another process.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "polycache/loaders.h"
#include "polycache/polycache.h"
#include "support/process_stores.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;

class LoaderStores : public ::testing::TestWithParam<testing::ProcessStore> {
 protected:
  Config config() const {
    return {.caches = {{"default",
                        {.backend = GetParam().name,
                         .location = GetParam().location(),
                         .key_prefix = "loaders"}}}};
  }
  std::atomic<int> computed_{0};
};

TEST_P(LoaderStores, ProcessesShareValuesLogAndInvalidations) {
  CacheRegistry here(config(), testing::environment_of_all_stores());
  CacheRegistry there(config(), testing::environment_of_all_stores());
  here["default"].clear();
  std::vector<std::unique_ptr<Loaders>> loaders;
  const auto greet = [&](const std::string& name, int n) {
    ++computed_;
    return name + ' ' + std::to_string(n);
  };
  for (CacheRegistry* const registry : {&here, &there}) {
    loaders.push_back(std::make_unique<Loaders>(*registry));
    loaders.back()->add("greet", greet, {.relevance = true, .log_size = 20});
  }
  const Loader ours = (*loaders[0])["greet"];
  const Loader theirs = (*loaders[1])["greet"];

  EXPECT_EQ(ours.get<std::string>("Zoë A.", 1), "Zoë A. 1");
  EXPECT_EQ(theirs.get<std::string>("Zoë A.", 1L), "Zoë A. 1");
  EXPECT_EQ(computed_, 1);
  for (int i = 0; i < 10; ++i) (i % 2 == 0 ? ours : theirs).get<std::string>("Ann", i);
  EXPECT_EQ(computed_, 11);
  const LogPage page = theirs.log();
  ASSERT_EQ(page.entries.size(), 11U);
  EXPECT_EQ(page.entries.back().arguments, (std::vector<std::string>{"Zoë A.", "1"}));
  EXPECT_FALSE(page.is_cut);

  EXPECT_EQ(theirs.invalidate("Ann", 0).removed, 1U);
  const auto is_ann = [](const LogEntry& entry) { return entry.arguments.at(0) == "Ann"; };
  const Invalidation done = ours.invalidate_if(is_ann);
  EXPECT_EQ(done.removed, 9U);
  EXPECT_FALSE(done.log_was_cut);
  ours.get<std::string>("Zoë A.", 1);
  EXPECT_EQ(computed_, 11);
  theirs.invalidate_all();
  ours.get<std::string>("Zoë A.", 1);
  EXPECT_EQ(computed_, 12);
}

INSTANTIATE_TEST_SUITE_P(Stores, LoaderStores,
                         ::testing::Values(testing::sqlite_store, testing::redis_store,
                                           testing::memcached_store),
                         testing::name_of);

}  // namespace
}  // namespace polycache
