// Sections: parts of a configuration that recipes and programs read themselves.

#include "polycache/section.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/backends/dummy.h"
#include "polycache/polycache.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Config with(const std::string& members) {
  return Config::from_json("{\"caches\": {\"a\": {\"backend\": \"dummy\"}},\n" + members + "}",
                           "c.json");
}

Environment claiming(std::map<std::string, SectionCheck, std::less<>> sections = {}) {
  return {.on_warning = {}, .linked_plugins = {&dummy::plugin}, .sections = std::move(sections)};
}

std::string problem_of(Config config, Environment environment) {
  try {
    const CacheRegistry registry(std::move(config), std::move(environment));
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

struct Loader {
  std::string name;
  std::string command;
  std::chrono::milliseconds expires{};
  std::vector<std::string> tags;
  std::int64_t most = 0;
  bool warm = false;
};

std::vector<Loader> read_loaders(SectionReader& section) {
  std::vector<Loader> loaders;
  for (const SectionReader& loader : section.objects()) {
    loaders.push_back({.name = loader.name(),
                       .command = loader.string("command", "none"),
                       .expires = loader.duration("expires", 300s),
                       .tags = loader.strings("tags"),
                       .most = loader.bytes("most", 0),
                       .warm = loader.object("start").boolean("warm", false)});
  }
  return loaders;
}

TEST(Sections, AreReadWithTheConversionsThatOptionsHave) {
  const CacheRegistry registry(with(R"("loaders": {
    // comments, too
    "users": {"command": "get-user", "expires": "5s", "tags": ["a", "b"], "most": "2KiB"},
    "rates": {"tags": "one", "start": {"warm": true}}
  })"),
                               claiming({{"loaders", {}}}));
  SectionReader section = registry.section("loaders");
  EXPECT_TRUE(section.exists());
  const std::vector<Loader> loaders = read_loaders(section);
  section.finish();
  ASSERT_EQ(loaders.size(), 2U);
  EXPECT_EQ(loaders[0].name, "users");
  EXPECT_EQ(loaders[0].command, "get-user");
  EXPECT_EQ(loaders[0].expires, 5s);
  EXPECT_THAT(loaders[0].tags, ElementsAre("a", "b"));
  EXPECT_EQ(loaders[0].most, 2048);
  EXPECT_FALSE(loaders[0].warm);
  EXPECT_EQ(loaders[1].command, "none");
  EXPECT_EQ(loaders[1].expires, 300s);
  EXPECT_THAT(loaders[1].tags, ElementsAre("one"));
  EXPECT_TRUE(loaders[1].warm);
}

TEST(Sections, ThatAreMissingReadAsEmpty) {
  const CacheRegistry registry(with("\"plugin_path\": []"), claiming());
  SectionReader section = registry.section("loaders");
  EXPECT_FALSE(section.exists());
  EXPECT_EQ(section.string("x", "fallback"), "fallback");
  EXPECT_THAT(section.objects(), IsEmpty());
  EXPECT_FALSE(section.object("y").exists());
  EXPECT_NO_THROW(section.finish());
}

TEST(Sections, CanBeListsOfObjects) {
  const CacheRegistry registry(with(R"("queries": [{"sql": "a"}, {"sql": "b", "on": [{"t": 1}]}])"),
                               claiming({{"queries", {}}}));
  SectionReader section = registry.section("queries");
  std::vector<std::string> read;
  for (const SectionReader& query : section.objects()) {
    read.push_back(query.name() + query.string("sql", ""));
    for (const SectionReader& on : query.objects("on")) {
      read.push_back(on.member("t") + "=" + std::to_string(on.integer("t", 0)));
    }
  }
  section.finish();
  EXPECT_THAT(read, ElementsAre("[0]a", "[1]b", "queries[1].on[0].t=1"));
}

TEST(Sections, ReportEveryProblemWithItsPlace) {
  const auto check = [](SectionReader& section) { read_loaders(section); };
  const std::string problem = problem_of(with(R"("loaders": {
    "users": {"comand": "x", "expires": "soon",
              "most": -1},
    "rates": {"command": {"a": 1}, "start": 7, "strat": {}}
  })"),
                                         claiming({{"loaders", check}}));
  EXPECT_THAT(problem, HasSubstr("c.json:3: loaders.users.comand: unknown option; did you mean "
                                 "\"command\"?"));
  EXPECT_THAT(problem, HasSubstr("c.json:3: loaders.users.expires: expected a duration"));
  EXPECT_THAT(problem, HasSubstr("c.json:4: loaders.users.most: expected a size"));
  EXPECT_THAT(problem,
              HasSubstr("c.json:5: loaders.rates.command: expected a value, got an object"));
  EXPECT_THAT(problem, HasSubstr("c.json:5: loaders.rates.start: expected an object"));
  EXPECT_THAT(problem, HasSubstr("c.json:5: loaders.rates.strat: unknown member; did you mean "
                                 "\"start\"?"));
  EXPECT_THAT(problem, HasSubstr("6 problems"));
}

TEST(Sections, AreReportedTogetherWithTheProblemsOfCaches) {
  const auto check = [](SectionReader& section) { section.reject("x", "is odd"); };
  Config config = Config::from_json(
      "{\"caches\": {\"a\": {\"backend\": \"dummy\",\n\"options\": {\"nonsense\": 1}}},\n"
      "\"mine\": {\"x\": 1}}",
      "c.json");
  const std::string problem = problem_of(std::move(config), claiming({{"mine", check}}));
  EXPECT_THAT(problem, HasSubstr("2 problems"));
  EXPECT_THAT(problem, HasSubstr("c.json:2: caches.a.options.nonsense: unknown option"));
  EXPECT_THAT(problem, HasSubstr("c.json:3: mine.x: is odd"));
}

TEST(Sections, FinishThrowsWhatWasRecorded) {
  const CacheRegistry registry(with(R"("mine": {"x": "many", "y": 1})"), claiming({{"mine", {}}}));
  SectionReader section = registry.section("mine");
  EXPECT_EQ(section.integer("x", 7), 7);
  try {
    section.finish();
    FAIL() << "did not throw";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("c.json:2: mine.x: expected an integer, got \"many\""));
    EXPECT_THAT(error.what(), HasSubstr("c.json:2: mine.y: unknown option"));
  }
}

TEST(Sections, DoNotShowWhatMayBeSecret) {
  ::setenv("SECTIONS_TEST_SECRET", "hunter2", 1);
  const CacheRegistry registry(
      with(R"("mine": {"x": "${SECTIONS_TEST_SECRET}", "password": "hunter2"})"),
      claiming({{"mine", {}}}));
  ::unsetenv("SECTIONS_TEST_SECRET");
  SectionReader section = registry.section("mine");
  // Expanded when it is read: by then the variable is gone.
  section.integer("x", 0);
  section.integer("password", 0);
  try {
    section.finish();
    FAIL() << "did not throw";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), Not(HasSubstr("hunter2")));
  }
}

TEST(Sections, ThatNothingClaimsAreErrorsThatNameTheRemedy) {
  EXPECT_THAT(problem_of(with(R"("loaders": {"x": {}})"), claiming()),
              HasSubstr("c.json:2: loaders: unknown member; known members: \"$schema\""));
  EXPECT_THAT(problem_of(with(R"("loaders": {"x": {}})"), claiming()),
              HasSubstr("register_section()"));
  EXPECT_THAT(problem_of(with(R"("loader": {"x": {}})"), claiming({{"loaders", {}}})),
              HasSubstr("c.json:2: loader: unknown member; did you mean \"loaders\"?"));
  EXPECT_THAT(problem_of(with(R"("cache": {})"), claiming()),
              HasSubstr("cache: unknown member; did you mean \"caches\"?"));
  EXPECT_THAT(problem_of(with(R"("default": {"backend": "dummy"})"), claiming()),
              HasSubstr("default: unknown member; a cache belongs in \"caches\""));
  Environment tolerant = claiming();
  tolerant.allow_unclaimed_sections = true;
  EXPECT_EQ(problem_of(with(R"("loaders": {"x": {}})"), tolerant), "");
}

TEST(Sections, CanBeClaimedForTheWholeProcess) {
  register_section("sections_test", [](SectionReader& section) { section.boolean("on", true); });
  EXPECT_EQ(problem_of(with(R"("sections_test": {"on": false})"), claiming()), "");
  EXPECT_THAT(problem_of(with(R"("sections_test": {"off": false})"), claiming()),
              HasSubstr("sections_test.off: unknown option"));
  EXPECT_THROW(register_section("sections_test"), ConfigError);
  EXPECT_THROW(register_section("caches"), ConfigError);
  EXPECT_THROW(register_section(""), ConfigError);
}

TEST(Sections, WithAWrongSectionAReconfigurationChangesNothing) {
  const auto check = [](SectionReader& section) { section.integer("n", 0); };
  CacheRegistry registry(with(R"("mine": {"n": 1})"), claiming({{"mine", check}}));
  EXPECT_THROW(registry.reconfigure(with(R"("mine": {"n": "x"})")), ConfigError);
  EXPECT_EQ(registry.section("mine").integer("n", 0), 1);
  registry.reconfigure(with(R"("mine": {"n": 2})"));
  EXPECT_EQ(registry.section("mine").integer("n", 0), 2);
}

TEST(Sections, ListenersHearOfEachChangeUntilTheyAreGone) {
  std::vector<std::int64_t> heard;
  std::vector<std::string> warnings;
  Environment environment = claiming({{"mine", {}}});
  environment.on_warning = [&](const Warning& warning) { warnings.emplace_back(warning.message); };
  CacheRegistry registry(with(R"("mine": {"n": 1})"), environment);
  auto listener =
      registry.on_change([&] { heard.push_back(registry.section("mine").integer("n", 0)); });
  const auto unwell = registry.on_change([] { throw std::runtime_error("unwell"); });
  registry.reconfigure(with(R"("mine": {"n": 2})"));
  EXPECT_THROW(registry.reconfigure(with(R"("yours": {})")), ConfigError);
  registry.reconfigure(with(R"("mine": {"n": 3})"));
  listener.reset();
  registry.reconfigure(with(R"("mine": {"n": 4})"));
  EXPECT_THAT(heard, ElementsAre(2, 3));
  EXPECT_THAT(warnings, ElementsAre("a listener of on_change() threw: unwell",
                                    "a listener of on_change() threw: unwell",
                                    "a listener of on_change() threw: unwell"));
}

TEST(Sections, AListenerThatAnotherOneEndedIsNotCalled) {
  CacheRegistry registry(with(R"("mine": {})"), claiming({{"mine", {}}}));
  int calls = 0;
  std::shared_ptr<void> second;
  const auto first = registry.on_change([&] { second.reset(); });
  second = registry.on_change([&] { ++calls; });
  registry.reconfigure(with(R"("mine": {})"));
  EXPECT_EQ(calls, 0);
}

TEST(Sections, AnItemOfAListCanBeRejected) {
  const auto check = [](SectionReader& section) {
    section.strings("tags");
    section.reject("tags[1]", "is unknown");
  };
  EXPECT_EQ(
      problem_of(with("\"mine\": {\n\"tags\": [\"a\",\n\"b\"]}"), claiming({{"mine", check}})),
      "c.json:3: mine.tags[1]: is unknown");
}

TEST(Sections, ACheckSeesASectionThatIsMissing) {
  const auto check = [](SectionReader& section) {
    if (!section.has("needed")) section.reject("needed", "is missing");
  };
  EXPECT_EQ(problem_of(with(R"("plugin_path": [])"), claiming({{"mine", check}})),
            "mine.needed: is missing");
}

TEST(Sections, HaveNoRulesOfOptions) {
  const CacheRegistry registry(with(R"("mine": {"MAX_ENTRIES": 5, "none": null})"),
                               claiming({{"mine", {}}}));
  SectionReader section = registry.section("mine");
  EXPECT_EQ(section.integer("MAX_ENTRIES", 0), 5);
  EXPECT_FALSE(section.has("none"));
  EXPECT_NO_THROW(section.finish());
}

TEST(Sections, PluginsOfOtherKindsAreFoundByName) {
  static const int data = 7;
  static constexpr auto kind = static_cast<PluginKind>(1000);
  static const PluginDescriptor other = other_plugin(kind, "other", "1.0", &data);
  CacheRegistry registry(with(R"("plugin_path": [])"),
                         {.on_warning = {}, .linked_plugins = {&dummy::plugin, &other}});
  EXPECT_EQ(registry.plugin(kind, "other").payload.data, &data);
  EXPECT_EQ(&registry.plugin(PluginKind::backend, "dummy"), &dummy::plugin);
  try {
    registry.plugin(kind, "othr");
    FAIL() << "did not throw";
  } catch (const PluginError& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean \"other\"?"));
  }
  try {
    registry.plugin(kind, "redis://user:hunter2@host");
    FAIL() << "did not throw";
  } catch (const PluginError& error) {
    EXPECT_THAT(error.what(), Not(HasSubstr("hunter2")));
  }
  try {
    registry.plugin(PluginKind::layer, "other");
    FAIL() << "did not throw";
  } catch (const PluginError& error) {
    EXPECT_THAT(error.what(), HasSubstr("other"));
  }
}

}  // namespace
}  // namespace polycache
