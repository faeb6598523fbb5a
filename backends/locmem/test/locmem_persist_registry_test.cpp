// "persist" in a configuration: tags, warnings, wrong options, aliases that disagree.

#include "persist_fixture.h"
#include "polycache/backends/dummy.h"
#include "polycache/cache.h"
#include "polycache/config.h"
#include "polycache/environment.h"
#include "polycache/error.h"
#include "polycache/registry.h"
#include "support/message_of.h"

namespace polycache {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_of;
using ::testing::StartsWith;

Config config_with(const std::string& file) {
  return {.caches = {{"default",
                      {.backend = "locmem",
                       .options = {{"persist", file}, {"persist_interval", std::int64_t{0}}}}}}};
}

class LocmemPersistRegistry : public testing::PersistTest {
 protected:
  Environment environment() {
    return {
        .clock = &clock_,
        .on_warning =
            [this](const Warning& warning) {
              EXPECT_EQ(warning.kind, Warning::Kind::dump_failed);
              warnings_.push_back(std::string(warning.alias) + ": " + std::string(warning.message));
            },
        .linked_plugins = {&locmem::plugin, &dummy::plugin}};
  }
  std::vector<std::string> warnings_;
};

TEST_F(LocmemPersistRegistry, TaggedEntriesLiveOnAndErasedTagsStayErased) {
  {
    CacheRegistry registry(config_with(path()), environment());
    Cache& cache = registry["default"];
    cache.set("red", 1, {.tags = {"colour"}});
    cache.set("old", 2, {.tags = {"gone"}});
    cache.set("plain", 3);
    cache.erase_tag("gone");
    EXPECT_GE(cache.maintenance().save(), 3U);
  }
  CacheRegistry registry(config_with(path()), environment());
  Cache& cache = registry["default"];
  EXPECT_EQ(cache.get<int>("red"), 1);
  EXPECT_EQ(cache.get<int>("plain"), 3);
  EXPECT_FALSE(cache.get<int>("old"));
  cache.erase_tag("colour");
  EXPECT_FALSE(cache.get<int>("red"));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(LocmemPersistRegistry, WarningsReachTheHandlerOfTheAlias) {
  write(path(), "no dump");
  { CacheRegistry(config_with(path()), environment())["default"].set("k", 1); }
  EXPECT_THAT(warnings_,
              ElementsAre(AllOf(StartsWith("default: "), HasSubstr("was ignored: is no dump")),
                          HasSubstr("the store was not saved: the dump")));
}

TEST_F(LocmemPersistRegistry, WithoutAFileASaveSaysWhatIsMissing) {
  Config config = config_with(path());
  config.caches["default"].options.clear();
  config.caches["other"].backend = "dummy";
  CacheRegistry registry(config, environment());
  EXPECT_THAT(message_of<BackendError>([&] { registry["default"].maintenance().save(); }),
              HasSubstr("default: save: no file to save to is configured; set the option "
                        "\"persist\" to one"));
  EXPECT_THAT(message_of<BackendError>([&] { registry["other"].maintenance().save(); }),
              HasSubstr("cannot save its entries; these can: locmem"));
}

TEST_F(LocmemPersistRegistry, TwoFilesForOneLocationAreAnError) {
  Config config = config_with(path("a"));
  config.caches["second"] = config_with(path("b")).caches["default"];
  EXPECT_THAT(message_of<ConfigError>([&] { CacheRegistry(config, environment()); }),
              HasSubstr("caches.second.options.persist: is \"" + path("b") + "\", but \"" +
                        path("a") + "\" for the alias \"default\"; both use the locmem location"));
  config.caches["second"].options.erase("persist");
  config.caches["second"].options.erase("persist_interval");
  EXPECT_THAT(message_of<ConfigError>([&] { CacheRegistry(config, environment()); }),
              HasSubstr("caches.second.options.persist: is not given, but \"" + path("a")));
}

TEST_F(LocmemPersistRegistry, OneFileForTwoLocationsIsAnError) {
  Config config = config_with(path());
  config.caches["second"] = config.caches["default"];
  config.caches["second"].location = {"other"};
  EXPECT_THAT(message_of<ConfigError>([&] { CacheRegistry(config, environment()); }),
              HasSubstr("caches.second.options.persist: is the file of the locmem location "
                        "\"other\", but the file of the locmem location \"\" for the alias "
                        "\"default\"; both use the dump"));
}

TEST_F(LocmemPersistRegistry, WrongOptionsAreErrors) {
  const auto problem = [&](const OptionMap& given) {
    Config config;
    config.caches["default"] = {.backend = "locmem", .options = given};
    return message_of<ConfigError>([&] { CacheRegistry(config, environment()); });
  };
  EXPECT_THAT(problem({{"persist", path("no/such/dump")}}),
              HasSubstr("options.persist: the folder \"" + path("no/such") + "\" cannot be used"));
  EXPECT_THAT(problem({{"persist", std::string()}}), HasSubstr("expected the path of a file"));
  EXPECT_THAT(problem({{"persist", folder_.path().string() + "/"}}),
              HasSubstr("expected the path of a file, got"));
  EXPECT_THAT(problem({{"persist_interval", std::int64_t{5}}}),
              HasSubstr("options.persist_interval: needs \"persist\""));
  EXPECT_THAT(problem({{"persist", path()}, {"persist_interval", std::int64_t{-1}}}),
              HasSubstr("options.persist_interval"));
}

}  // namespace
}  // namespace polycache
