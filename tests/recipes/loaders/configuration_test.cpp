// Loaders that a configuration declares.

#include "fixture.h"

namespace polycache {
namespace {

Config from(const std::string& members) {
  Config config = Config::from_json(R"({
    "caches": {"default": {"backend": "locmem"}, "other": {"backend": "locmem"}},
    "plugin_path": [")" FUNCTION_LIBRARIES R"("],
    "allow_writable_plugins": true,
    )" + members + "}",
                                    "shop.json");
  return config;
}

// A static object of the program, made before those of the libraries that it links.
const std::string problem_before_main = message_of<ConfigError>([] {
  const CacheRegistry registry(Config::from_json(R"({"caches": {"default": {"backend": "locmem"}},
                                                     "loaders": {}, "loader_defaults": {}})",
                                                 "early.json"),
                               {.linked_plugins = {&locmem::plugin}});
});

class Configured : public LoadersTest {
 protected:
  // The problem of a configuration with these members, found by the registry or by its loaders.
  std::string problem(const std::string& members) {
    return message_of<ConfigError>([&] {
      CacheRegistry registry(from(members), environment());
      const Loaders loaders(registry);
    });
  }
};

TEST_F(Configured, ALoaderIsDeclaredByTheConfiguration) {
  CacheRegistry registry(from(R"("loaders": {
    "sum": {"structure_getter": "shop:sum", "expires": 100000, "cache": "other", "tags": ["a"]},
    "greeting": {"structure_getter": "shop:greet", "label": ""},
    "renamed": {"structure_getter": "shop:twice", "label": "twice"}})"),
                         environment());
  const Loaders loaders(registry);
  EXPECT_EQ(loaders["sum"].get<double>(std::vector<double>{1, 2}), 3.0);
  EXPECT_EQ(loaders["greeting"].get<std::string>("Ann", false), "Ann");
  EXPECT_EQ(loaders["twice"].get<int>(4), 8);
  EXPECT_FALSE(loaders.contains("renamed"));
  const LoaderInfo sum = loaders.describe().at(1);
  EXPECT_EQ(sum.label, "sum");
  EXPECT_TRUE(sum.is_configured);
  EXPECT_EQ(sum.options.expires, 100'000s);
  EXPECT_EQ(sum.options.cache, "other");
  EXPECT_THAT(sum.options.tags, ElementsAre("a"));
  EXPECT_EQ(sum.options.ticks, 10);
}

TEST_F(Configured, TheSpellingsOfTheDocumentAreAccepted) {
  CacheRegistry registry(from(R"("loaders": {
    "all": {"structure_getter": "shop:warmed", "is_concurrent": false, "tick_amount": 5,
            "tick": 0.2, "relevance_invalidation": true, "relevance_expires": 30,
            "delay_logging": true, "delay_invalidation": true, "cached_entity": true,
            "expires": "1h"},
    "ours": {"structure_getter": "shop:warmed", "concurrent": false, "ticks": 5, "tick": "200ms",
             "relevance": true, "relevance_expires": "30s", "log_in_background": true,
             "delay_invalidation": true, "cached_entity": true, "expires": 3600, "stale": 0,
             "lease": "10s", "log": 5, "log_cache": "other"}})"),
                         environment());
  const Loaders loaders(registry);
  for (const LoaderInfo& info : loaders.describe()) {
    EXPECT_FALSE(info.options.concurrent);
    EXPECT_EQ(info.options.ticks, 5);
    EXPECT_EQ(info.options.tick, 200ms);
    EXPECT_TRUE(info.options.relevance);
    EXPECT_EQ(info.options.relevance_expires, 30s);
    EXPECT_TRUE(info.options.log_in_background);
    EXPECT_TRUE(info.options.delay_invalidation);
    EXPECT_TRUE(info.options.cached_entity);
    EXPECT_EQ(info.options.expires, 1h);
  }
  const LoaderOptions ours = loaders.describe().at(1).options;
  EXPECT_EQ(ours.stale, 0s);
  EXPECT_EQ(ours.lease, 10s);
  EXPECT_EQ(ours.log_size, 5);
  EXPECT_EQ(ours.log_cache, "other");
}

TEST_F(Configured, DefaultsAreForEveryLoaderThatSaysNothingElse) {
  CacheRegistry registry(from(R"("loader_defaults": {"ticks": 3, "expires": "2h", "cache": "other"},
    "loaders": {"a": {"structure_getter": "shop:warmed"},
                "b": {"structure_getter": "shop:warmed", "ticks": 4}})"),
                         environment());
  Loaders loaders(registry);
  EXPECT_EQ(loaders.describe().at(0).options.ticks, 3);
  EXPECT_EQ(loaders.describe().at(1).options.ticks, 4);
  EXPECT_EQ(loaders.describe().at(1).options.expires, 2h);
  loaders.add("c", [] { return 1; });
  loaders.add("d", [] { return 1; }, {});
  EXPECT_EQ(loaders.describe().at(2).options.cache, "other");
  EXPECT_EQ(loaders.describe().at(3).options.cache, "default") << "what is given in code is all";
}

TEST_F(Configured, EveryProblemIsNamedWithItsPlace) {
  EXPECT_THAT(problem(R"("loaders": {
    "a": {"structure_getter": "shop:sum", "expire": 5},
    "b": {"structure_getter": "shop:sum", "ticks": -1},
    "c": {"expires": 5},
    "d d": {"structure_getter": "shop:sum"}})"),
              AllOf(HasSubstr("loaders.a.expire: unknown"), HasSubstr("did you mean \"expires\"?"),
                    HasSubstr("shop.json:7: loaders.b.ticks"),
                    HasSubstr("loaders.c.structure_getter"), HasSubstr("loaders.d d.label")));
  EXPECT_THAT(problem(R"("loaders": {
    "a": {"structure_getter": "shop:sun"},
    "b": {"structure_getter": "shopp:sum"},
    "c": {"structure_getter": "shop:sum", "cache": "none"},
    "d": {"structure_getter": "shop:sum", "key_gen": "shop:warmed"}})"),
              AllOf(HasSubstr("shop.json:6: loaders.a"), HasSubstr("did you mean \"sum\"?"),
                    HasSubstr("polycache_shopp.so"), HasSubstr("no cache \"none\""),
                    HasSubstr("key_gen must return a std::string")));
  EXPECT_THAT(problem(R"("loader_defaults": {"tick": "soon"})"), HasSubstr("loader_defaults.tick"));
  EXPECT_THAT(problem(R"("loaders": {
    "a": {"structure_getter": "shop:sum", "ticks": 1, "tick_amount": 2}})"),
              AllOf(HasSubstr("tick_amount"), HasSubstr("another name of \"ticks\"")));
  EXPECT_THAT(problem(R"("loaders": {"a": {"structure_getter": "shop:sum", "relevance": true,
                                           "relevance_expires": "1h"}})"),
              HasSubstr("relevance_expires must be shorter than expires"));
}

TEST_F(Configured, ALabelIsUsedOnce) {
  EXPECT_THAT(problem(R"("loaders": {
    "a": {"structure_getter": "shop:sum", "label": "x"},
    "b": {"structure_getter": "shop:sum", "label": "x"}})"),
              AllOf(HasSubstr("loaders.b.label"), HasSubstr("used twice")));
  CacheRegistry registry(from(R"("loaders": {"a": {"structure_getter": "shop:sum"}})"),
                         environment());
  Loaders loaders(registry);
  EXPECT_THROW(loaders.add("a", [] { return 1; }), ConfigError);
}

TEST_F(Configured, AReloadChangesTheLoaders) {
  CacheRegistry registry(from(R"("loaders": {"a": {"structure_getter": "shop:twice"},
                                             "b": {"structure_getter": "shop:twice"}})"),
                         environment());
  Loaders loaders(registry);
  loaders.add("mine", [] { return 1; });
  const Loader older = loaders["b"];
  registry.reconfigure(from(R"("loaders": {"a": {"structure_getter": "shop:twice", "ticks": 3},
                                           "c": {"structure_getter": "shop:twice"}})"));
  EXPECT_EQ(loaders.describe().at(0).options.ticks, 3);
  EXPECT_TRUE(loaders.contains("c"));
  EXPECT_FALSE(loaders.contains("b"));
  EXPECT_TRUE(loaders.contains("mine"));
  EXPECT_EQ(older.get<int>(4), 8) << "it stays what it was";
}

TEST_F(Configured, AReloadWithAProblemKeepsTheLoaders) {
  CacheRegistry registry(from(R"("loaders": {"a": {"structure_getter": "shop:twice"}})"),
                         environment());
  Loaders loaders(registry);
  loaders.add("mine", [] { return 1; });
  registry.reconfigure(from(R"("loaders": {"b": {"structure_getter": "shop:twise"}})"));
  EXPECT_THAT(take_warnings(), ElementsAre(HasSubstr("did you mean \"twice\"?")));
  EXPECT_TRUE(loaders.contains("a"));
  registry.reconfigure(from(R"("loaders": {"mine": {"structure_getter": "shop:twice"}})"));
  EXPECT_THAT(take_warnings(), ElementsAre(HasSubstr("used already")));
  EXPECT_TRUE(loaders.contains("a"));
  EXPECT_EQ(loaders["mine"].get<int>(), 1);
  EXPECT_THROW(registry.reconfigure(from(R"("loaders": {"b": {"ticks": 1}})")), ConfigError)
      << "what needs no library is found before anything changes";
}

TEST_F(Configured, ARegistryThatIsAStaticObjectKnowsTheSections) {
  EXPECT_EQ(problem_before_main, "nothing was thrown");
}

TEST_F(Configured, LoadersAreThoseOfTheLastOfTwoReloadsAtOnce) {
  const auto with_ticks = [](int ticks) {
    return from(R"("loaders": {"a": {"structure_getter": "shop:twice", "ticks": )" +
                std::to_string(ticks) + "}}");
  };
  CacheRegistry registry(with_ticks(0), environment());
  for (int round = 1; round <= 50; ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] { registry.reconfigure(with_ticks(10 * round + t)); });
    }
    const Loaders loaders(registry);
    for (std::thread& thread : threads) thread.join();
    const std::int64_t last = registry.section("loaders").object("a").integer("ticks", -1);
    ASSERT_EQ(loaders.describe().at(0).options.ticks, last) << "in round " << round;
  }
}

TEST_F(Configured, LoadersThatHaveEndedHearOfNoReload) {
  CacheRegistry registry(from(R"("loaders": {"a": {"structure_getter": "shop:twice"}})"),
                         environment());
  { const Loaders loaders(registry); }
  registry.reconfigure(from(R"("loaders": {"a": {"structure_getter": "shop:none"}})"));
  EXPECT_THAT(take_warnings(), IsEmpty());
}

TEST_F(Configured, TheConfigurationOfAFileDeclaresTheGlobalLoaders) {
  CacheRegistry registry(from(R"("loaders": {"double": {"structure_getter": "shop:twice"}})"),
                         environment());
  const ScopedGlobalRegistry scope(registry);
  EXPECT_EQ(load<int>("double", 21), 42);
}

}  // namespace
}  // namespace polycache
