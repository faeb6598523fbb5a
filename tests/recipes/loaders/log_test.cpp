// The log of a loader, and its invalidations.

#include "fixture.h"

namespace polycache {
namespace {

using Area = std::int64_t;

std::vector<std::uint64_t> numbers(const LogPage& page) {
  std::vector<std::uint64_t> all;
  for (const LogEntry& entry : page.entries) all.push_back(entry.number);
  return all;
}

TEST_F(LoadersTest, TheLogHasWhatWasCreated) {
  const Loader loader = loaders_.add("hello", [](const std::string& name, int n) {
    std::this_thread::sleep_for(2ms);
    return name + std::to_string(n);
  });
  EXPECT_THAT(loader.log().entries, IsEmpty());
  const auto before =
      std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  loader.get<std::string>("a: b%20", 3);
  loader.get<std::string>("a: b%20", 3);
  const LogPage page = loader.log();
  ASSERT_EQ(page.entries.size(), 1U);
  const LogEntry& entry = page.entries[0];
  EXPECT_EQ(entry.number, 1U);
  EXPECT_EQ(entry.label, "hello");
  EXPECT_EQ(entry.key, loader.key("a: b%20", 3));
  EXPECT_THAT(entry.arguments, ElementsAre("a: b%20", "3"));
  EXPECT_GE(entry.created, before);
  EXPECT_GE(entry.took, 2ms);
  EXPECT_FALSE(page.is_cut);
  EXPECT_EQ(page.next, 0U);
}

TEST_F(LoadersTest, TheLogIsReadByPagesTheNewestFirst) {
  const Loader loader = loaders_.add("area", area());
  for (int i = 0; i < 5; ++i) loader.get<Area>(i, 1);
  LogPage page = loader.log({.count = 2});
  EXPECT_THAT(numbers(page), ElementsAre(5, 4));
  EXPECT_THAT(page.entries[0].arguments, ElementsAre("4", "1"));
  page = loader.log({.before = page.next, .count = 2});
  EXPECT_THAT(numbers(page), ElementsAre(3, 2));
  page = loader.log({.before = page.next, .count = 2});
  EXPECT_THAT(numbers(page), ElementsAre(1));
  EXPECT_EQ(page.next, 0U);
  EXPECT_FALSE(page.is_cut);
  EXPECT_THAT(numbers(loader.log({.before = 1})), IsEmpty());
}

TEST_F(LoadersTest, TheLogKeepsTheNewestAndSaysThatItWasCut) {
  const Loader loader = loaders_.add("area", area(), {.log_size = 3});
  for (int i = 0; i < 3; ++i) loader.get<Area>(i, 1);
  EXPECT_FALSE(loader.log().is_cut);
  for (int i = 3; i < 10; ++i) loader.get<Area>(i, 1);
  EXPECT_THAT(numbers(loader.log()), ElementsAre(10, 9, 8));
  EXPECT_TRUE(loader.log().is_cut);
  registry_["default"].erase("area@log:0");
  EXPECT_THAT(numbers(loader.log()), ElementsAre(10, 8));
}

TEST_F(LoadersTest, TheLogMayBeInAnotherCacheOrNowhere) {
  const Loader elsewhere = loaders_.add("area", area(), {.log_cache = "shared"});
  elsewhere.get<Area>(1, 1);
  EXPECT_EQ(numbers(elsewhere.log()).size(), 1U);
  EXPECT_TRUE(registry_["shared"].contains("area@log"));
  EXPECT_FALSE(registry_["default"].contains("area@log"));
  const Loader nowhere = loaders_.add("volume", area(), {.log_size = 0});
  nowhere.get<Area>(1, 1);
  EXPECT_THAT(numbers(nowhere.log()), IsEmpty());
  EXPECT_TRUE(nowhere.invalidate_if([](const LogEntry&) { return true; }).log_was_cut);
}

TEST_F(LoadersTest, AValueIsReturnedAlthoughItsLogCannotBeWritten) {
  const Loader loader = loaders_.add("area", area(), {.log_cache = "failing"});
  EXPECT_EQ(loader.get<Area>(3, 4), 12);
  EXPECT_EQ(loader.get<Area>(3, 4), 12);
  EXPECT_EQ(computed_, 1);
  const LoaderInfo info = loaders_.describe().at(0);
  EXPECT_EQ(info.unlogged, 1U);
  EXPECT_THAT(info.last_error, HasSubstr("failing"));
}

TEST_F(LoadersTest, TheLogMayBeWrittenInTheBackground) {
  const Loader loader = loaders_.add("area", area(), {.log_in_background = true});
  loader.get<Area>(3, 4);
  EXPECT_THAT(numbers(loader.log()), IsEmpty());
  EXPECT_EQ(executor_->run_all(), 1U);
  EXPECT_THAT(numbers(loader.log()), ElementsAre(1));
  executor_->refuse(true);
  loader.get<Area>(4, 4);
  EXPECT_THAT(numbers(loader.log()), ElementsAre(2, 1)) << "refused jobs run here";
}

TEST_F(LoadersTest, AValueIsInvalidatedByItsArguments) {
  const Loader loader = loaders_.add("area", area());
  loader.get<Area>(3, 4);
  loader.get<Area>(5, 6);
  const Invalidation done = loader.invalidate(3L, 4);
  EXPECT_FALSE(done.is_delayed);
  EXPECT_EQ(done.removed, 1U);
  EXPECT_EQ(loader.invalidate(3, 4).removed, 0U);
  loader.get<Area>(3, 4);
  loader.get<Area>(5, 6);
  EXPECT_EQ(computed_, 3);
  EXPECT_THROW(loader.invalidate("3", 4), ConfigError);
}

TEST_F(LoadersTest, ValuesAreInvalidatedByAPredicateOverTheLog) {
  const Loader loader = loaders_.add("area", area(), {.log_size = 1000});
  for (int i = 0; i < 250; ++i) loader.get<Area>(i % 2, i);
  const auto odd = [](const LogEntry& entry) { return entry.arguments.at(0) == "1"; };
  const Invalidation done = loader.invalidate_if(odd);
  EXPECT_EQ(done.removed, 125U);
  EXPECT_FALSE(done.log_was_cut);
  EXPECT_EQ(loader.invalidate_if(odd).removed, 0U);
  loader.get<Area>(0, 0);
  EXPECT_EQ(computed_, 250);
  loader.get<Area>(1, 1);
  EXPECT_EQ(computed_, 251);
  EXPECT_THROW(loader.invalidate_if({}), ValueError);
}

TEST_F(LoadersTest, APredicateOverACutLogSaysSo) {
  const Loader loader = loaders_.add("area", area(), {.log_size = 10});
  for (int i = 0; i < 11; ++i) loader.get<Area>(i, 1);
  const Invalidation done = loader.invalidate_if([](const LogEntry&) { return true; });
  EXPECT_EQ(done.removed, 10U);
  EXPECT_TRUE(done.log_was_cut);
  loader.get<Area>(0, 1);
  EXPECT_EQ(computed_, 11) << "the oldest one is still there";
}

TEST_F(LoadersTest, EveryValueIsInvalidatedWithoutALog) {
  const LoaderOptions options{.cache = "shared", .log_size = 0};
  const Loader loader = loaders_.add("area", area(), options);
  const Loader other_label = loaders_.add("volume", area(), options);
  CacheRegistry other(config(), environment());
  Loaders others(other);
  others.add("area", area(), options);
  loader.get<Area>(3, 4);
  other_label.get<Area>(3, 4);
  EXPECT_EQ(loader.invalidate_all().removed, std::nullopt);
  others["area"].get<Area>(3, 4);
  EXPECT_EQ(computed_, 3) << "another process computes anew";
  other_label.get<Area>(3, 4);
  EXPECT_EQ(computed_, 3) << "other labels stay";
}

TEST_F(LoadersTest, AValueCarriesItsTags) {
  const Loader loader = loaders_.add("area", area(), {.tags = {"geo"}});
  loader.get<Area>(3, 4);
  registry_["default"].erase_tag("geo");
  loader.get<Area>(3, 4);
  EXPECT_EQ(computed_, 2);
}

TEST_F(LoadersTest, AnInvalidationDuringTheComputationWins) {
  std::optional<Loader> loader;
  loader = loaders_.add("n", [&] {
    if (++computed_ == 1) loader->invalidate();
    if (computed_ == 2) loader->invalidate_all();
    if (computed_ == 3) loader->invalidate_if([](const LogEntry&) { return true; });
    return computed_.load();
  });
  for (int i = 1; i <= 4; ++i) EXPECT_EQ(loader->get<int>(), i);
  EXPECT_EQ(loader->get<int>(), 4);
}

TEST_F(LoadersTest, APredicateSeesWhatIsComputedAndNotLoggedYet) {
  const Loader loader = loaders_.add("area", area(), {.log_in_background = true});
  loader.get<Area>(3, 4);
  loader.get<Area>(5, 6);
  const auto is_three = [](const LogEntry& entry) { return entry.arguments.at(0) == "3"; };
  const Invalidation done = loader.invalidate_if(is_three);
  EXPECT_EQ(done.removed, 1U);
  EXPECT_FALSE(done.log_was_cut);
  EXPECT_EQ(executor_->run_all(), 2U);
  EXPECT_THAT(numbers(loader.log()), ElementsAre(2, 1));
  EXPECT_EQ(loader.invalidate_if(is_three).removed, 0U);
}

TEST_F(LoadersTest, ALogThatWasErasedIsCut) {
  const Loader loader = loaders_.add("area", area(), {.log_cache = "shared"});
  EXPECT_FALSE(loader.invalidate_if([](const LogEntry&) { return true; }).log_was_cut);
  loader.get<Area>(1, 1);
  loader.get<Area>(2, 1);
  EXPECT_FALSE(loader.log().is_cut);
  registry_["shared"].clear();
  EXPECT_TRUE(loader.log().is_cut);
  for (int i = 3; i < 6; ++i) loader.get<Area>(i, 1);
  const Invalidation done = loader.invalidate_if([](const LogEntry&) { return true; });
  EXPECT_EQ(done.removed, 3U);
  EXPECT_TRUE(done.log_was_cut) << "the values before are still there";
  const Loader other = loaders_.add("other", area(), {.log_cache = "shared"});
  other.get<Area>(1, 1);
  registry_["shared"].clear();
  for (int i = 0; i < 3; ++i) other.get<Area>(i, 2);
  EXPECT_TRUE(other.log().is_cut) << "no read of the log came between";
}

TEST_F(LoadersTest, ALogWhoseCacheAReloadHasRemovedFailsNoCall) {
  for (const bool in_background : {false, true}) {
    CacheRegistry registry(config(), environment());
    registry["default"].clear();
    Loaders loaders(registry);
    const Loader loader =
        loaders.add("area", area(), {.log_in_background = in_background, .log_cache = "shared"});
    Config without = config();
    without.caches.erase("shared");
    registry.reconfigure(without);
    EXPECT_EQ(loader.get<Area>(3, 4), 12);
    EXPECT_EQ(loader.invalidate(3, 4).removed, 1U);
    EXPECT_NO_THROW(loader.invalidate_all());
    EXPECT_THROW(loader.log(), ConfigError);
    const LoaderInfo info = loaders.describe().at(0);
    EXPECT_EQ(info.unlogged, 1U);
    EXPECT_THAT(info.last_error, HasSubstr("no cache \"shared\""));
  }
}

TEST_F(LoadersTest, InvalidationsMayRunOnTheExecutor) {
  const Loader loader = loaders_.add("area", area(), {.delay_invalidation = true});
  const auto invalidations = {
      +[](const Loader& l) { return l.invalidate(3, 4); },
      +[](const Loader& l) { return l.invalidate_if([](const LogEntry&) { return true; }); },
      +[](const Loader& l) { return l.invalidate_all(); }};
  int expected = 0;
  for (const auto& invalidate : invalidations) {
    loader.get<Area>(3, 4);
    EXPECT_EQ(computed_, ++expected);
    const Invalidation done = invalidate(loader);
    EXPECT_TRUE(done.is_delayed);
    EXPECT_EQ(done.removed, std::nullopt);
    loader.get<Area>(3, 4);
    EXPECT_EQ(computed_, expected) << "not yet";
    EXPECT_EQ(executor_->run_all(), 1U);
  }
  loader.get<Area>(3, 4);
  EXPECT_EQ(computed_, ++expected);
  executor_->refuse(true);
  EXPECT_FALSE(loader.invalidate(3, 4).is_delayed) << "refused jobs run here";
  loader.get<Area>(3, 4);
  EXPECT_EQ(computed_, ++expected);
  executor_->refuse(false);
  loader.invalidate_if([](const LogEntry&) -> bool { throw std::runtime_error("no idea"); });
  executor_->run_all();
  EXPECT_EQ(loaders_.describe().at(0).failed_invalidations, 1U);
  EXPECT_EQ(loaders_.describe().at(0).last_error, "no idea");
}

}  // namespace
}  // namespace polycache
