// Loaders that are declared in code.

#include "fixture.h"
#include "polycache/memoize.h"
#include "polycache/testing/scoped_caches.h"

namespace polycache {
namespace {

using Area = std::int64_t;

TEST_F(LoadersTest, AValueIsComputedOnceForItsArguments) {
  const Loader loader = loaders_.add("area", area());
  EXPECT_EQ(loader.get<Area>(3, 4), 12);
  EXPECT_EQ(loaders_["area"].get<Area>(3L, std::uint8_t{4}), 12) << "they are converted first";
  EXPECT_EQ(computed_, 1);
  EXPECT_EQ(loader.key(3, 4), "area:3:4");
  EXPECT_EQ(registry_["default"].get<Area>("area:3:4"), 12);
  EXPECT_EQ(loader.get<Area>(4, 3), 12);
  EXPECT_EQ(computed_, 2);
  clock_.advance(301s);
  loader.get<Area>(3, 4);
  EXPECT_EQ(computed_, 3);
}

TEST_F(LoadersTest, AGetterOfALibraryIsNamed) {
  loaders_.add("sum", "shop:sum", {.cache = "shared"});
  EXPECT_EQ(loaders_["sum"].get<double>(std::vector<int>{1, 2}), 3.0);
  loaders_.add("greeting", std::string("shop:greet"));
  EXPECT_EQ(loaders_["greeting"].get<std::string>("Ann", true), "HELLO Ann");
  EXPECT_EQ(loaders_["greeting"].key("Ann", true), "greeting:Ann:1");
  EXPECT_THAT(message_of<ConfigError>([&] { loaders_.add("other", "shop:sun"); }),
              AllOf(HasSubstr("loader \"other\""), HasSubstr("did you mean \"sum\"?")));
}

TEST_F(LoadersTest, AnUnknownLabelIsAnErrorThatListsTheKnownOnes) {
  EXPECT_THAT(message_of<ConfigError>([&] { loaders_["area"]; }), HasSubstr("none is declared"));
  loaders_.add("area", area());
  loaders_.add("volume", area());
  EXPECT_THAT(message_of<ConfigError>([&] { loaders_["aera"]; }),
              AllOf(HasSubstr("\"aera\""), HasSubstr("did you mean \"area\"?"),
                    HasSubstr("\"area\", \"volume\"")));
  EXPECT_TRUE(loaders_.contains("area"));
  EXPECT_FALSE(loaders_.contains("aera"));
  const char* const null = nullptr;
  EXPECT_THROW(loaders_[null], ConfigError);
  EXPECT_THROW(loaders_.contains(null), ConfigError);
  EXPECT_THROW(loaders_.add(null, area()), ConfigError);
  EXPECT_THROW(loaders_.add(null, area(), {}), ConfigError);
  EXPECT_THROW(loaders_.add("null", null), ConfigError);
  EXPECT_THROW(load<Area>(null, 3, 4), ConfigError);
}

TEST_F(LoadersTest, ALabelIsUsedOnce) {
  loaders_.add("area", area());
  EXPECT_THAT(message_of<ConfigError>([&] { loaders_.add("area", area()); }),
              AllOf(HasSubstr("\"area\""), HasSubstr("used already")));
  for (const std::string label : {"", "a b", "a:b", "a@b"}) {
    EXPECT_THAT(message_of<ConfigError>([&] { loaders_.add(label, area()); }), HasSubstr("label"))
        << label;
  }
  EXPECT_THROW(loaders_.add(std::string(101, 'a'), area()), ConfigError);
}

// memoize("a:b", f) and a loader "a" with the argument "b@1" once had one key.
TEST_F(LoadersTest, ALoaderSharesNoKeyWithAMemoizedFunction) {
  const auto text = [](const std::string& argument) { return argument; };
  const Loader loader = loaders_.add("a", text);
  const auto none = memoize("a:b", [] { return std::string("f"); }, {}, {.registry = &registry_});
  const auto one = memoize("a:b", text, {}, {.registry = &registry_});
  EXPECT_EQ(none(), "f");
  EXPECT_EQ(loader.get<std::string>("b@1"), "b@1");
  EXPECT_EQ(none.key(), "a:b@1");
  EXPECT_EQ(loader.key("b@1"), "a:b%401");
  EXPECT_EQ(loader.key("b%401"), "a:b%25401");
  EXPECT_EQ(one.key("@"), "a:b@1:%40");
  const char* const null = nullptr;
  EXPECT_THROW(loader.key(null), ValueError);
}

TEST_F(LoadersTest, ACallThatDoesNotFitTheGetterShowsBothSignatures) {
  const Loader loader = loaders_.add("area", area());
  EXPECT_THAT(message_of<ConfigError>([&] { loader.get<Area>("3", 4); }),
              AllOf(HasSubstr("loader \"area\""), HasSubstr("(i64,i64) -> i64"),
                    HasSubstr("([c8],i32) -> i64")));
  EXPECT_THAT(message_of<ConfigError>([&] { loader.get<std::string>(3, 4); }),
              HasSubstr("-> [c8]"));
  EXPECT_THROW(loader.get<Area>(3), ConfigError);
  EXPECT_THROW(loader.get<Area>(std::uint64_t{1} << 63U, 4), ValueError);
  EXPECT_EQ(computed_, 0);
}

TEST_F(LoadersTest, OptionsThatCannotBeAreNamed) {
  const auto problem = [&](LoaderOptions options) {
    return message_of<ConfigError>([&] { loaders_.add("area", area(), std::move(options)); });
  };
  EXPECT_THAT(problem({.expires = 0s}), HasSubstr("expires must"));
  EXPECT_THAT(problem({.stale = -1s}), HasSubstr("stale must"));
  for (const auto longest : {std::chrono::milliseconds::max(), 40'000 * 24h + 0ms}) {
    EXPECT_THAT(problem({.expires = longest}), HasSubstr("expires must be at most"));
    EXPECT_THAT(problem({.stale = longest}), HasSubstr("stale must be at most"));
    EXPECT_THAT(problem({.lease = longest}), HasSubstr("lease must be at most"));
  }
  EXPECT_THAT(problem({.ticks = -1}), HasSubstr("ticks must"));
  EXPECT_THAT(problem({.tick = 0ms}), HasSubstr("tick must"));
  EXPECT_THAT(problem({.expires = 1min, .relevance = true}), HasSubstr("relevance_expires must"));
  EXPECT_THAT(problem({.log_size = -1}), HasSubstr("log must"));
  using Names = std::vector<std::string>;
  for (const Names& tags : {Names{""}, Names{std::string(1025, 't')}, Names(64, "t")}) {
    EXPECT_THAT(problem({.tags = tags}), HasSubstr("tags must"));
  }
  EXPECT_THAT(problem({.cache = "none"}),
              AllOf(HasSubstr("no cache \"none\""), HasSubstr("\"default\"")));
  EXPECT_THAT(problem({.log_cache = "none"}), HasSubstr("no cache \"none\""));
  EXPECT_THAT(problem({.key_gen = "none"}), HasSubstr("no function \"none\""));
  EXPECT_THAT(problem({.key_gen = [](int n) { return n; }}),
              AllOf(HasSubstr("key_gen must return a std::string"), HasSubstr("i32")));
  EXPECT_THAT(message_of<ConfigError>([&] { loaders_.add("area", ""); }), HasSubstr("no getter"));
}

TEST_F(LoadersTest, AKeyMayBeGeneratedFromTheArguments) {
  const auto parity = [](std::int64_t width, std::int64_t height) {
    return (width * height) % 2 == 0 ? std::string("even one") : std::string("odd");
  };
  const Loader loader = loaders_.add("area", area(), {.key_gen = parity});
  EXPECT_EQ(loader.get<Area>(3, 4), 12);
  EXPECT_EQ(loader.get<Area>(2, 2), 12);
  EXPECT_EQ(loader.key(2, 2), "area:even%20one");
  static int repeated = 0;  // a name stays for ever
  const std::string name = "loaders_test.first" + std::to_string(repeated++);
  register_function(name, [](int first, int) { return std::to_string(first); });
  const Loader named = loaders_.add("other", area(), {.key_gen = name});
  EXPECT_EQ(named.key(7, 8), "other:7");
  EXPECT_EQ(loaders_.describe().at(1).key_gen, name);
}

TEST_F(LoadersTest, ALongKeyIsHashed) {
  const Loader loader = loaders_.add("length", [](const std::string& s) { return s.size(); });
  const std::string text(500, 'x');
  EXPECT_EQ(loader.get<std::size_t>(text), 500U);
  EXPECT_THAT(loader.key(text), ::testing::StartsWith("length:%#"));
  EXPECT_LE(loader.key(text).size(), 200U);
  EXPECT_NE(loader.key(text), loader.key(text + "x"));
}

TEST_F(LoadersTest, AGetterCanSayThatThereIsNoSuchThing) {
  const Loader loader = loaders_.add("find", [&](int n) {
    ++computed_;
    return n > 0 ? std::optional<int>(n) : std::nullopt;
  });
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(loader.get<std::optional<int>>(0), std::nullopt);
    EXPECT_EQ(loader.get<std::optional<int>>(1), 1);
  }
  EXPECT_EQ(computed_, 2);
}

TEST_F(LoadersTest, WhatAGetterThrowsReachesTheCallerUnlessThereIsAStaleValue) {
  std::atomic<bool> fails{true};
  const auto getter = [&]() -> int {
    if (fails) throw std::runtime_error("the origin is down");
    return 7;
  };
  const Loader loader = loaders_.add("n", getter, {.expires = 10s, .stale = 1min});
  EXPECT_THAT(message_of<std::runtime_error>([&] { loader.get<int>(); }), "the origin is down");
  fails = false;
  EXPECT_EQ(loader.get<int>(), 7);
  fails = true;
  clock_.advance(11s);
  EXPECT_EQ(loader.get<int>(), 7);
  EXPECT_THAT(take_warnings(), ElementsAre(HasSubstr("the origin is down")));
  clock_.advance(61s);
  EXPECT_THROW(loader.get<int>(), std::runtime_error);
  EXPECT_EQ(loaders_.describe().at(0).failed, 3U);
  EXPECT_EQ(loaders_.describe().at(0).computed, 1U);
}

// --- Concurrency. ---

// A getter that runs until it is let go, from the second call on.
class Held {
 public:
  int operator()() {
    const int call = ++calls;
    if (call == held) {
      started.set_value();
      go.get_future().wait();
    }
    return call;
  }
  std::atomic<int> calls{0};
  int held = 1;
  std::promise<void> started;
  std::promise<void> go;
};

TEST_F(LoadersTest, OneCallerComputesWhileTheOthersWait) {
  const Loader loader = loaders_.add("n",
                                     [&] {
                                       std::this_thread::sleep_for(50ms);
                                       return ++computed_;
                                     },
                                     {.tick = 1min});
  std::vector<std::future<int>> all;
  for (int i = 0; i < 8; ++i) {
    all.push_back(std::async(std::launch::async, [&] { return loader.get<int>(); }));
  }
  for (auto& one : all) EXPECT_EQ(one.get(), 1);
}

TEST_F(LoadersTest, AfterItsTicksACallerTakesTheStaleValue) {
  Held held;
  held.held = 2;
  const Loader loader =
      loaders_.add("n", [&] { return held(); }, {.expires = 10s, .ticks = 2, .tick = 10ms});
  EXPECT_EQ(loader.get<int>(), 1);
  clock_.advance(11s);
  auto computing = std::async(std::launch::async, [&] { return loader.get<int>(); });
  held.started.get_future().wait();
  EXPECT_EQ(loader.get<int>(), 1);
  EXPECT_EQ(held.calls, 2);
  held.go.set_value();
  EXPECT_EQ(computing.get(), 2);
  EXPECT_EQ(loader.get<int>(), 2);
}

TEST_F(LoadersTest, AfterItsTicksACallerComputesIfThereIsNoStaleValue) {
  Held held;
  const Loader loader = loaders_.add("n", [&] { return held(); }, {.ticks = 2, .tick = 10ms});
  auto computing = std::async(std::launch::async, [&] { return loader.get<int>(); });
  held.started.get_future().wait();
  EXPECT_EQ(loader.get<int>(), 2);
  held.go.set_value();
  EXPECT_EQ(computing.get(), 2) << "what was stored first is for all";
}

TEST_F(LoadersTest, WithoutConcurrencyNoCallerWaits) {
  Held held;
  const Loader loader =
      loaders_.add("n", [&] { return held(); }, {.concurrent = false, .tick = 1h});
  auto computing = std::async(std::launch::async, [&] { return loader.get<int>(); });
  held.started.get_future().wait();
  EXPECT_EQ(loader.get<int>(), 2);
  held.go.set_value();
  computing.get();
}

TEST_F(LoadersTest, AnotherProcessWaitsForItsTicks) {
  Held held;
  const LoaderOptions options{.cache = "shared", .ticks = 2, .tick = 10ms};
  const Loader loader = loaders_.add(
      "n", [&] { return held(); }, options);
  CacheRegistry other(config(), environment());
  Loaders others(other);
  others.add(
      "n", [] { return 100; }, options);
  auto computing = std::async(std::launch::async, [&] { return loader.get<int>(); });
  held.started.get_future().wait();
  EXPECT_EQ(others["n"].get<int>(), 100);
  held.go.set_value();
  computing.get();
  EXPECT_EQ(loader.get<int>(), 100);
}

TEST_F(LoadersTest, AfterItsRelevanceOneCallerRenewsAndTheOthersReadOn) {
  Held held;
  held.held = 2;
  const Loader loader =
      loaders_.add("n", [&] { return held(); },
                   {.expires = 100s, .tick = 1h, .relevance = true, .relevance_expires = 10s});
  EXPECT_EQ(loader.get<int>(), 1);
  clock_.advance(9s);
  EXPECT_EQ(loader.get<int>(), 1);
  clock_.advance(2s);
  auto computing = std::async(std::launch::async, [&] { return loader.get<int>(); });
  held.started.get_future().wait();
  EXPECT_EQ(loader.get<int>(), 1);
  held.go.set_value();
  EXPECT_EQ(computing.get(), 2);
  EXPECT_EQ(loader.get<int>(), 2);
}

// --- Entities. ---

TEST_F(LoadersTest, AnEntityKnowsItsTimes) {
  const Loader loader = loaders_.add("area", area(), {.expires = 1h, .cached_entity = true});
  const auto before =
      std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto entity = loader.get<CachedEntity<Area>>(3, 4);
  EXPECT_EQ(entity.value, 12);
  EXPECT_GE(entity.created, before);
  EXPECT_EQ(entity.expires, entity.created + 1h);
  EXPECT_FALSE(entity.is_stale());
  EXPECT_GT(entity.left(), 0ms);
  EXPECT_EQ(loader.get<Area>(3, 4), 12);
  EXPECT_EQ(loader.get<CachedEntity<Area>>(3, 4).created, entity.created);
  EXPECT_EQ(computed_, 1);
  EXPECT_TRUE((CachedEntity<int>{1, {}, before}.is_stale()));
}

TEST_F(LoadersTest, AnEntityWithAnyTimesHasAnAge) {
  using Entity = CachedEntity<int>;
  using std::chrono::milliseconds;
  const Loader loader =
      loaders_.add("area", area(), {.expires = 36'500 * 24h, .cached_entity = true});
  EXPECT_GT(loader.get<CachedEntity<Area>>(3, 4).left(), 36'499 * 24h);
  EXPECT_FALSE((Entity{1, {}, Entity::Moment::max()}.is_stale()));
  EXPECT_GT((Entity{1, {}, Entity::Moment::max()}.left()), 1000 * 365 * 24h);
  EXPECT_TRUE((Entity{1, {}, Entity::Moment::min()}.is_stale()));
  EXPECT_EQ((Entity{1, {}, Entity::Moment::min()}.left()), milliseconds::min());
}

TEST_F(LoadersTest, AnEntityMayNotBe) {
  const auto find = [&](int n) { return n > 0 ? std::optional<std::string>("x") : std::nullopt; };
  const Loader loader = loaders_.add("find", find, {.cached_entity = true});
  using Entity = std::optional<CachedEntity<std::string>>;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(loader.get<Entity>(0), std::nullopt);
    EXPECT_EQ(loader.get<Entity>(1)->value, "x");
    EXPECT_EQ(loader.get<std::optional<std::string>>(1), "x");
    EXPECT_EQ(loader.get<std::optional<std::string>>(0), std::nullopt);
  }
}

TEST_F(LoadersTest, WithoutTheOptionAnEntityIsRefused) {
  const Loader loader = loaders_.add("area", area());
  EXPECT_THAT(message_of<ConfigError>([&] { loader.get<CachedEntity<Area>>(3, 4); }),
              AllOf(HasSubstr("\"area\""), HasSubstr("cached_entity")));
  EXPECT_FALSE(Codec<CachedEntity<Area>>::decode("12"));
}

// --- Global, and all together. ---

TEST_F(LoadersTest, TheGlobalLoadersAreThoseOfTheGlobalRegistry) {
  for (int i = 0; i < 2; ++i) {
    CacheRegistry registry(config(), environment());
    const ScopedGlobalRegistry scope(registry);
    registry["default"].clear();
    EXPECT_FALSE(global_loaders().contains("area"));
    global_loaders().add("area", area());
    EXPECT_EQ(load<Area>("area", 3, 4), 12);
    EXPECT_EQ(registry["default"].get<Area>("area:3:4"), 12);
    EXPECT_THROW(load<Area>("volume", 3), ConfigError);
  }
}

TEST_F(LoadersTest, DescribeSaysWhatThereIs) {
  loaders_.add("area", area(), {.expires = 10s});
  loaders_.add("sum", "shop:sum");
  loaders_["area"].get<Area>(1, 2);
  const std::vector<LoaderInfo> infos = loaders_.describe();
  ASSERT_EQ(infos.size(), 2U);
  EXPECT_EQ(infos[0].label, "area");
  EXPECT_EQ(infos[0].getter, "a function");
  EXPECT_EQ(infos[0].signature, "(i64,i64) -> i64");
  EXPECT_EQ(infos[0].options.expires, 10s);
  EXPECT_EQ(infos[0].computed, 1U);
  EXPECT_FALSE(infos[0].is_configured);
  EXPECT_EQ(infos[1].getter, "shop:sum");
  EXPECT_EQ(infos[1].signature, "([f64]) -> f64");
}

TEST_F(LoadersTest, ManyThreadsUseOneLoader) {
  const Loader loader = loaders_.add("area", area(), {.cache = "shared", .log_size = 7});
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 60; ++i) {
        if (loaders_["area"].get<Area>(i % 5, t) != i % 5 * t) ++wrong;
        if (i % 10 == 3) loader.invalidate(i % 5, t);
        if (i % 20 == 7) loader.invalidate_if([](const LogEntry&) { return true; });
        if (i % 30 == 9) loader.invalidate_all();
        if (i % 15 == 1) static_cast<void>(loaders_.describe());
        if (i % 30 == 2) loaders_.add("area." + std::to_string(100 * t + i), area());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace polycache
