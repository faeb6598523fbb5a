#include "polycache/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <stdexcept>

#include "polycache/error.h"
#include "polycache/options.h"

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;
using testing::UnorderedElementsAre;

namespace polycache {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;

TEST(TimeoutTest, RoundsUpSoThatAPositiveDurationIsNeverZero) {
  EXPECT_EQ(Timeout(1ns).value(), 1ms);
  EXPECT_EQ(Timeout(1000001ns).value(), 2ms);
  EXPECT_EQ(Timeout(duration<double>(1e-300)).value(), 1ms);
  EXPECT_EQ(Timeout(duration<double>(0.1)).value(), 100ms);
  EXPECT_EQ(Timeout(duration<float>(0.7F)).value(), 700ms);
  EXPECT_EQ(Timeout(duration<int, std::ratio<1, 3>>(1)).value(), 334ms);
  EXPECT_EQ(Timeout(5min).value(), 300000ms);
  EXPECT_EQ(Timeout(-1ns).value(), 0ms);
  EXPECT_EQ(Timeout(-5s).value(), -5000ms);
}

TEST(TimeoutTest, WhatIsTooLongIsNever) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(Timeout(std::chrono::hours::max()).is_never());
  EXPECT_TRUE(Timeout(milliseconds::max()).is_never());
  EXPECT_TRUE(Timeout(duration<double>(1e300)).is_never());
  EXPECT_TRUE(Timeout(duration<double>(infinity)).is_never());
  EXPECT_TRUE(Timeout(duration<float, std::ratio<604800>>(3e38F)).is_never());
  EXPECT_TRUE(Timeout(duration<unsigned long, std::milli>(~0UL)).is_never());
  EXPECT_TRUE(Timeout(std::chrono::sys_time<std::chrono::hours>::max()).is_never());
  EXPECT_FALSE(Timeout(std::chrono::nanoseconds::max()).is_never());
  EXPECT_EQ(Timeout(std::chrono::hours::max()).value(), 0ms);
}

TEST(TimeoutTest, WhatIsVeryNegativeIsExpired) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const Timeout timeout :
       {Timeout(std::chrono::hours::min()), Timeout(milliseconds::min()),
        Timeout(duration<double>(-1e300)), Timeout(duration<double>(-infinity))}) {
    EXPECT_FALSE(timeout.is_never());
    EXPECT_FALSE(timeout.is_default());
    EXPECT_LT(timeout.value(), 0ms);
    EXPECT_LT(timeout.value() - 24h, 0ms) << "there is room for arithmetic";
  }
  const Timeout moment = std::chrono::sys_time<std::chrono::hours>::min();
  EXPECT_TRUE(moment.is_moment());
  EXPECT_LT(moment.value(), 0ms);
}

TEST(TimeoutTest, RefusesWhatIsNotANumber) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(Timeout{duration<double>(nan)}, std::invalid_argument);
}

TEST(TimeoutTest, IsEqualToItsLike) {
  EXPECT_EQ(Timeout(), Timeout());
  EXPECT_EQ(Timeout(60s), Timeout(1min));
  EXPECT_EQ(Timeout(std::chrono::hours::max()), never);
  EXPECT_NE(Timeout(0s), Timeout());
  EXPECT_NE(Timeout(5s), Timeout(std::chrono::sys_seconds(5s)));
}

// The message of the ConfigError that `action` throws; empty if it throws none.
template <class Action>
std::string problem_of(Action action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

std::string problem_in(std::string_view json) {
  return problem_of([&] { static_cast<void>(Config::from_json(json, "c.json")); });
}

// `json` as the only member of the alias "a", apart from the backend.
Config with_member(std::string_view json) {
  return Config::from_json(
      std::string(R"({"caches": {"a": {"backend": "locmem", )").append(json).append("}}}"),
      "c.json");
}

// Sets a variable of the environment for the time of a test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (value == nullptr) {
      ::unsetenv(name);
    } else {
      ::setenv(name, value, 1);
    }
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

class ConfigFiles : public testing::Test {
 protected:
  ConfigFiles() {
    std::string name = testing::TempDir() + "polycache-config-XXXXXX";
    folder = ::mkdtemp(name.data());
  }
  ~ConfigFiles() override { std::filesystem::remove_all(folder); }

  std::filesystem::path write(const std::string& name, std::string_view text) const {
    const std::filesystem::path file = folder / name;
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }

  std::filesystem::path folder;
};

TEST(ConfigTest, TakesEveryMember) {
  const Config config = Config::from_json(R"({
    "plugin_path": "plugins",
    "allow_writable_plugins": true,
    "caches": {"a": {
      "backend": "redis",
      "location": ["redis://one", "redis://two"],
      "timeout": "1h30m",
      "key_prefix": "shop",
      "version": -3,
      "key_function": "hashed",
      "key_warnings": false,
      "on_error": {"write": "throw"},
      "clear": "prefix",
      "tag_version_cache": "150ms",
      "layers": ["metrics", {"name": "compress", "options": {"level": 3}}],
      "options": {"b": true, "i": -9223372036854775808, "d": 0.5, "s": "x", "l": ["a", "b"]}
    }}
  })");
  ASSERT_TRUE(config.caches.contains("a"));
  const CacheConfig& cache = config.caches.find("a")->second;
  EXPECT_EQ(cache.backend, "redis");
  EXPECT_THAT(cache.location, ElementsAre("redis://one", "redis://two"));
  EXPECT_EQ(cache.timeout, Timeout(90min));
  EXPECT_EQ(cache.key_prefix, "shop");
  EXPECT_EQ(cache.version, -3);
  EXPECT_EQ(cache.key_function, "hashed");
  EXPECT_FALSE(cache.key_warnings);
  EXPECT_EQ(cache.on_error.read, ErrorPolicy::miss);
  EXPECT_EQ(cache.on_error.write, ErrorPolicy::throw_error);
  EXPECT_EQ(cache.clear, ClearScope::prefix);
  EXPECT_EQ(cache.tag_version_cache, 150ms);
  ASSERT_EQ(cache.layers.size(), 2U);
  EXPECT_EQ(cache.layers[0].name, "metrics");
  EXPECT_THAT(cache.layers[1].options, ElementsAre(Pair("level", OptionValue(std::int64_t{3}))));
  EXPECT_THAT(cache.options,
              ElementsAre(Pair("b", OptionValue(true)), Pair("d", OptionValue(0.5)),
                          Pair("i", OptionValue(std::numeric_limits<std::int64_t>::min())),
                          Pair("l", OptionValue(std::vector<std::string>{"a", "b"})),
                          Pair("s", OptionValue(std::string("x")))));
  EXPECT_THAT(config.plugin_path, ElementsAre("plugins"));
  EXPECT_TRUE(config.allow_writable_plugins);
}

TEST(ConfigTest, OmittedMembersHaveTheirDefaults) {
  const Config config = Config::from_json(R"({"caches": {"a": {"backend": "locmem"}}})");
  const CacheConfig& cache = config.caches.find("a")->second;
  EXPECT_EQ(cache.timeout, Timeout(300s));
  EXPECT_EQ(cache.version, 1);
  EXPECT_EQ(cache.key_function, "default");
  EXPECT_TRUE(cache.key_warnings);
  EXPECT_EQ(cache.tag_version_cache, 0ms);
  EXPECT_THAT(cache.location, IsEmpty());
}

TEST(ConfigTest, ReadsTimeoutsOfAllShapes) {
  const auto timeout = [](std::string_view value) {
    return with_member(std::string(R"("timeout": )").append(value)).caches.at("a").timeout;
  };
  EXPECT_EQ(timeout("60"), Timeout(60s));
  EXPECT_EQ(timeout("0.5"), Timeout(500ms));
  EXPECT_EQ(timeout("0"), Timeout(0s));
  EXPECT_EQ(timeout("null"), never);
  EXPECT_EQ(timeout(R"("250ms")"), Timeout(250ms));
  EXPECT_EQ(timeout("1e300"), never);
  EXPECT_EQ(timeout("99999999999999999999999"), never);
  EXPECT_EQ(timeout("9223372036854775807"), never);
  EXPECT_EQ(timeout(R"("0.4ms")"), Timeout(1ms)) << "not 0, which keeps nothing";
  EXPECT_EQ(timeout("0.0004"), Timeout(1ms));
}

TEST(ConfigTest, NumbersAndWordsMayBeStrings) {
  const Variable number("CONFIG_TEST_NUMBER", "60");
  const Variable unset("CONFIG_TEST_UNSET", nullptr);
  const auto cache = [](const char* member) { return with_member(member).caches.at("a"); };
  EXPECT_EQ(cache(R"("timeout": "${CONFIG_TEST_UNSET:-300}")").timeout, Timeout(300s));
  EXPECT_EQ(cache(R"("timeout": "${CONFIG_TEST_NUMBER}")").timeout, Timeout(60s));
  EXPECT_EQ(cache(R"("timeout": "0.5")").timeout, Timeout(500ms));
  EXPECT_EQ(cache(R"("timeout": "0")").timeout, Timeout(0s));
  EXPECT_EQ(cache(R"("timeout": "${CONFIG_TEST_UNSET:-null}")").timeout, never);
  EXPECT_EQ(cache(R"("timeout": "never")").timeout, never);
  EXPECT_EQ(cache(R"("version": "${CONFIG_TEST_NUMBER}")").version, 60);
  EXPECT_EQ(cache(R"("version": "-3")").version, -3);
  EXPECT_FALSE(cache(R"("key_warnings": "${CONFIG_TEST_UNSET:-false}")").key_warnings);
  EXPECT_TRUE(cache(R"("key_warnings": "true")").key_warnings);
  for (const char* wrong : {R"("timeout": "-5")", R"("timeout": "5 ")", R"("timeout": "")",
                            R"("version": "1.0")", R"("version": "")", R"("version": "2147483648")",
                            R"("version": " 1")", R"("key_warnings": "1")"}) {
    EXPECT_NE(problem_of([&] { with_member(wrong); }), "") << wrong;
  }
}

// The options of a store, as one written in JSON and in text.
TEST(ConfigTest, OptionsInTextAreReadAsInJson) {
  const std::vector<std::string> location;
  const OptionMap options{{"duration", std::string("300")},  {"short", 0.0001},
                          {"size", std::string("512")},      {"real_size", 1e6},
                          {"integer", std::string("-7")},    {"real_integer", 7.0},
                          {"number", std::string("0.25")},   {"boolean", std::string("true")},
                          {"negative", std::string("false")}};
  const OptionReader reader("caches.a", location, options);
  EXPECT_EQ(reader.duration("duration", 1s), 300s);
  EXPECT_EQ(reader.duration("short", 1s), 1ms);
  EXPECT_EQ(reader.bytes("size", 1), 512);
  EXPECT_EQ(reader.bytes("real_size", 1), 1'000'000);
  EXPECT_EQ(reader.integer("integer", 1), -7);
  EXPECT_EQ(reader.integer("real_integer", 1), 7);
  EXPECT_EQ(reader.number("number", 1), 0.25);
  EXPECT_TRUE(reader.boolean("boolean", false));
  EXPECT_FALSE(reader.boolean("negative", true));
  reader.reject_unread();
}

TEST(ConfigTest, OptionsThatAreNoNumbersAreRefused) {
  const std::vector<std::string> location;
  for (const OptionValue& value : std::vector<OptionValue>{
           std::string(""), std::string(" 1"), std::string("1 "), std::string("0x1"),
           std::string("nan"), std::string("inf"), std::string("99999999999999999999999"), 0.5,
           std::vector<std::string>{"1"}, true}) {
    const OptionMap options{{"n", value}};
    const OptionReader reader("caches.a", location, options);
    EXPECT_THROW(reader.integer("n", 1), ConfigError) << value.index();
  }
  const OptionMap digits{{"password", std::int64_t{12345}}, {"table", std::int64_t{5}}};
  const OptionReader reader("caches.a", location, digits);
  EXPECT_EQ(problem_of([&] { reader.string("password", ""); }),
            "caches.a.options.password: expected a string in quotes");
  EXPECT_EQ(problem_of([&] { reader.string("table", ""); }),
            "caches.a.options.table: expected a string in quotes, got 5");
}

TEST(ConfigTest, CharactersThatJsonDoesNotHaveAreNamed) {
  const auto problem = [](std::string_view json) {
    const std::string message = problem_in(json);
    const std::string_view start = "c.json:2: not valid JSON: ";
    EXPECT_TRUE(message.starts_with(start)) << json << ": " << message;
    return message.substr(std::min(start.size(), message.size()));
  };
  EXPECT_THAT(problem("{\n# x\n}"), HasSubstr("write // or /* */"));
  EXPECT_THAT(problem("{\n\u201ccaches\u201d: {}}"), HasSubstr("\u201c (U+201C)"));
  EXPECT_THAT(problem("{\n\"caches\u201d: {\"a\": 1}}"), HasSubstr("\u201d (U+201D)"));
  EXPECT_THAT(problem("{\n\"caches\": \"x\u201d\n}"), HasSubstr("\u201d (U+201D)"));
  EXPECT_THAT(problem("{\n'caches': {}}"), HasSubstr("double quotes"));
  EXPECT_THAT(problem("{\n\u00a0\"caches\": {}}"), HasSubstr("no-break space"));
  EXPECT_THAT(problem("{\n\u3000\"caches\": {}}"), HasSubstr("U+3000"));
  EXPECT_THAT(problem("{\n\ufeff\"caches\": {}}"), HasSubstr("byte order mark"));
  EXPECT_THAT(problem("{\n\u200b\"caches\": {}}"), HasSubstr("U+200B"));
  EXPECT_THAT(problem("{\n\"caches\": \u22125}"), HasSubstr("minus sign"));
  EXPECT_THAT(problem("{\n\"caches\" = {}}"), HasSubstr("':'"));
  EXPECT_THAT(problem("{\n\"a\": 1; \"b\": 2}"), HasSubstr("','"));
  EXPECT_THAT(problem("{\n\"a\": True}"), HasSubstr("true or false"));
  EXPECT_THAT(problem("{\n\"a\": None}"), HasSubstr("null"));
  EXPECT_THAT(problem("{\n\"a\": NaN}"), HasSubstr("finite number"));
  EXPECT_THAT(problem("{\n\"a\": -Infinity}"), HasSubstr("finite number"));
  EXPECT_THAT(problem("{\n\"a\": \"x\n}"), HasSubstr("does not end on its line"));
  EXPECT_THAT(problem("{\n\"a\": \"x\ty\"}"), HasSubstr("\\t"));
  EXPECT_THAT(problem("{\n\"a\": hunter2}"), Not(HasSubstr("hunter2")));
}

TEST(ConfigTest, KnowsTheLineOfEveryMember) {
  const Config config = Config::from_json(R"({
  "caches": { // a comment
    "a": {
      "backend":
        "locmem",
      "location": ["x",
                   "y"],
      "layers": [
        {"name": "metrics",
         "options": {"x": 1}}
      ],
      "options": {
        "n": 5
      }
    }
  },
  /* of two
     lines */
  "loaders":
    {"users": {}}
})",
                                          "c.json");
  const auto place = [&](std::string_view member) {
    const auto it = config.places.find(member);
    return it == config.places.end() ? "nowhere" : it->second;
  };
  EXPECT_EQ(place("caches"), "c.json:2");
  EXPECT_EQ(place("caches.a"), "c.json:3");
  EXPECT_EQ(place("caches.a.backend"), "c.json:4");
  EXPECT_EQ(place("caches.a.location"), "c.json:6");
  EXPECT_EQ(place("caches.a.location[1]"), "c.json:7");
  EXPECT_EQ(place("caches.a.layers[0]"), "c.json:9");
  EXPECT_EQ(place("caches.a.layers[0].options.x"), "c.json:10");
  EXPECT_EQ(place("caches.a.options.n"), "c.json:13");
  EXPECT_EQ(config.sections.at("loaders").json, R"({"users": {}})");
  EXPECT_EQ(config.sections.at("loaders").source, "c.json");
  EXPECT_EQ(config.sections.at("loaders").line, 20);
}

TEST(ConfigTest, KeepsSectionsUnchanged) {
  const Config config = Config::from_json(R"({"caches": {"a": {"backend": "locmem"}},
    "queries": [1, /* of a recipe */ "${NOT_EXPANDED}"]})");
  EXPECT_EQ(config.sections.at("queries").json, R"([1, /* of a recipe */ "${NOT_EXPANDED}"])");
}

TEST(ConfigTest, OneProblemIsOneLine) {
  EXPECT_EQ(
      problem_in("{\"caches\": {\"a\": {\"backend\": \"locmem\",\n\"timeout\": -1}}}"),
      "c.json:2: caches.a.timeout: must not be negative; write 0 to store nothing, or null for "
      "values that never expire");
}

TEST(ConfigTest, SeveralProblemsAreListedInTheOrderOfTheirLines) {
  EXPECT_EQ(problem_in(R"({
    "caches": {"a": {"backend": "locmem", "verison": 2,
      "key_warnings": 1}},
    "plugin_path": [],
    "plugin_path": 7
  })"),
            "3 problems in the configuration:\n"
            "  c.json:2: caches.a.verison: unknown member; did you mean \"version\"?\n"
            "  c.json:3: caches.a.key_warnings: expected true or false, got 1\n"
            "  c.json:5: plugin_path: given twice; the first is in line 4");
}

TEST(ConfigTest, AFloodOfProblemsIsCut) {
  std::string json = R"({"caches": {"a": {"backend": "locmem", "options": {)";
  for (int i = 0; i < 250; ++i) json += '"' + std::to_string(i) + R"(": null, )";
  const std::string problem = problem_in(json + R"("x": 1}}}})");
  EXPECT_THAT(problem, HasSubstr("250 problems in the configuration:\n"));
  EXPECT_THAT(problem, HasSubstr("\n  and 150 more"));
}

TEST(ConfigTest, NamesInMessagesCannotBreakLines) {
  EXPECT_THAT(problem_in(R"({"caches": {"a": {"backend": "locmem", "x\ny\u001b": 1}}})"),
              HasSubstr(R"(c.json:1: caches.a.x\x0ay\x1b: unknown member)"));
}

TEST(ConfigTest, DepthIsBounded) {
  const auto nested = [](std::size_t depth) {
    return R"({"caches": {"a": {"backend": "locmem"}}, "loaders": )" + std::string(depth, '[') +
           std::string(depth, ']') + "}";
  };
  EXPECT_EQ(problem_in(nested(63)), "");
  EXPECT_EQ(problem_in(nested(64)), "c.json:1: nested deeper than 64 levels");
  EXPECT_EQ(problem_in(nested(1000000)), "c.json:1: nested deeper than 64 levels");
}

TEST(ConfigTest, TheNumberOfValuesIsBounded) {
  // The two that are open, and 199998 in lines of their own.
  for (const char* value : {"1,\n", "[],\n"}) {
    std::string json = R"({"loaders": [)";
    for (int i = 0; i < 200000; ++i) json += value;
    EXPECT_EQ(problem_in(json), "c.json:199999: more than 200000 values") << value;
  }
}

TEST(ConfigTest, SizeIsBounded) {
  EXPECT_EQ(problem_in(std::string((16U << 20U) + 1, ' ')), "c.json: is larger than 16384 KiB");
}

TEST(ConfigTest, PutsVariablesIn) {
  const Variable host("CONFIG_TEST_HOST", "db7");
  const Variable empty("CONFIG_TEST_EMPTY", "");
  const Variable unset("CONFIG_TEST_UNSET", nullptr);
  const auto prefix = [](std::string_view text) {
    return with_member(std::string(R"("key_prefix": ")").append(text).append("\""))
        .caches.at("a")
        .key_prefix;
  };
  EXPECT_EQ(prefix("${CONFIG_TEST_HOST}"), "db7");
  EXPECT_EQ(prefix("a${CONFIG_TEST_HOST}b${CONFIG_TEST_HOST}c"), "adb7bdb7c");
  EXPECT_EQ(prefix("${CONFIG_TEST_HOST:-other}"), "db7");
  EXPECT_EQ(prefix("${CONFIG_TEST_UNSET:-other}"), "other");
  EXPECT_EQ(prefix("${CONFIG_TEST_UNSET:-}"), "");
  EXPECT_EQ(prefix("${CONFIG_TEST_UNSET:-a:-b}"), "a:-b");
  EXPECT_EQ(prefix("${CONFIG_TEST_EMPTY}"), "");
  EXPECT_EQ(prefix("${CONFIG_TEST_EMPTY:-other}"), "other");
  EXPECT_EQ(prefix("$${CONFIG_TEST_HOST}"), "${CONFIG_TEST_HOST}");
  EXPECT_EQ(prefix("$ {} $x $$ }"), "$ {} $x $$ }");
}

TEST(ConfigTest, WhatAVariableHoldsIsNotExpandedAgain) {
  const Variable nested("CONFIG_TEST_NESTED", "${HOME}");
  EXPECT_EQ(with_member(R"("key_prefix": "${CONFIG_TEST_NESTED}")").caches.at("a").key_prefix,
            "${HOME}");
}

TEST(ConfigTest, AnUnsetVariableIsNamed) {
  const Variable unset("CONFIG_TEST_UNSET", nullptr);
  EXPECT_EQ(problem_of([] { with_member(R"("key_prefix": "${CONFIG_TEST_UNSET}")"); }),
            "c.json:1: caches.a.key_prefix: the environment variable CONFIG_TEST_UNSET is not set; "
            "set it, or write a default: ${CONFIG_TEST_UNSET:-...}");
}

TEST(ConfigTest, MalformedSubstitutionsAreProblems) {
  for (const char* text : {"${", "${}", "${1A}", "${A B}", "${file:}", "${A:-${B}}", "x${A-b}"}) {
    EXPECT_THAT(problem_of([&] {
                  with_member(std::string(R"("key_prefix": ")").append(text).append("\""));
                }),
                HasSubstr("write a plain \"${\" as $${"))
        << text;
  }
}

TEST(ConfigTest, ExpandedMembersAreHidden) {
  const Variable secret("CONFIG_TEST_SECRET", "hunter2");
  const Config config = with_member(R"("location": ["plain", "${CONFIG_TEST_SECRET}"],
    "key_prefix": "plain", "layers": [{"name": "l", "options": {"o": "${CONFIG_TEST_SECRET}"}}],
    "options": {"password": "x${CONFIG_TEST_SECRET}", "list": ["${CONFIG_TEST_SECRET}"]})");
  EXPECT_THAT(config.hidden,
              UnorderedElementsAre("caches.a.location", "caches.a.location[1]",
                                   "caches.a.layers[0].options.o", "caches.a.options.password",
                                   "caches.a.options.list", "caches.a.options.list[0]"));
}

TEST(ConfigTest, NoSecretIsInAMessage) {
  const Variable secret("CONFIG_TEST_SECRET", "hunter2");
  for (const char* member : {
           R"("timeout": "${CONFIG_TEST_SECRET}")",
           R"("clear": "${CONFIG_TEST_SECRET}")",
           R"("on_error": "${CONFIG_TEST_SECRET}")",
           R"("on_error": {"read": "${CONFIG_TEST_SECRET}"})",
           R"("clear": "${CONFIG_TEST_UNSET:-hunter2}")",
           R"("password": "hunter2")",
           R"("options": {"password": {"is": "hunter2"}})",
           R"("options": {"password": ["hunter2", 5]})",
           R"("options": {"password": "hunter2\ud800"})",
           R"("options": {"password": "hunter2 ${no such name}"})",
           R"("options": {"password": "hunter2)",
           R"("options": {"password": hunter2})",
           R"("options": {"password": "hunter2" "x"})",
           R"("location": {"url": "redis://me:hunter2@host"})",
           R"("location": ["redis://me:hunter2@host", null])",
           R"("version": "${CONFIG_TEST_SECRET}")",
           R"("key_warnings": "${CONFIG_TEST_SECRET}")",
           R"("layers": "${CONFIG_TEST_SECRET}")",
           R"("backend": "${CONFIG_TEST_SECRET}")",
       }) {
    const std::string problem = problem_of([&] { with_member(member); });
    EXPECT_THAT(problem, HasSubstr("c.json:1")) << member;
    EXPECT_THAT(problem, Not(HasSubstr("hunter2"))) << member;
  }
}

TEST_F(ConfigFiles, FilesArePutInWithoutTheirLastNewline) {
  const auto expanded = [&](std::string_view content) {
    write("secret.txt", content);
    const auto file = write("c.json", R"({"caches": {"a": {"backend": "redis",
      "options": {"password": "<${file:secret.txt}>"}}}})");
    return std::get<std::string>(
        Config::from_file(file).caches.at("a").options.find("password")->second);
  };
  EXPECT_EQ(expanded("hunter2"), "<hunter2>");
  EXPECT_EQ(expanded("hunter2\n"), "<hunter2>");
  EXPECT_EQ(expanded("hunter2\r\n"), "<hunter2>");
  EXPECT_EQ(expanded(" hunter2 \n\n"), "< hunter2 \n>");
  EXPECT_EQ(expanded(""), "<>");
}

TEST_F(ConfigFiles, AFileThatCannotBePutInIsNamed) {
  const auto problem = [&](std::string_view path) {
    const auto file = write("c.json", std::string(R"({"caches": {"a": {"backend": "redis",
      "key_prefix": "${file:)")
                                          .append(path)
                                          .append(R"(}"}}})"));
    return problem_of([&] { static_cast<void>(Config::from_file(file)); });
  };
  write("large.txt", std::string(65537, 'x'));
  write("zero.txt", std::string_view("hunter2\0x", 9));
  EXPECT_THAT(problem("none.txt"), HasSubstr("c.json:2: caches.a.key_prefix: the file \"none.txt\" "
                                             "of a ${file:...} cannot be read: No such file"));
  EXPECT_THAT(problem("."), HasSubstr("Is a directory"));
  EXPECT_THAT(problem("large.txt"), HasSubstr("is larger than 64 KiB"));
  EXPECT_THAT(problem("zero.txt"), HasSubstr("must not contain a zero byte"));
}

// Of a file that is missing, cannot be read, is too large, or is refused for its content.
TEST_F(ConfigFiles, AFileThatCannotBePutInLeavesNoDescriptorOpen) {
  const auto open_descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
  };
  write("large.txt", std::string(65537, 'x'));
  write("zero.txt", std::string_view("hunter2\0x", 9));
  std::filesystem::permissions(write("writable.txt", "hunter2"), std::filesystem::perms(0602));
  const auto before = open_descriptors();
  for (const char* path : {"none.txt", ".", "large.txt", "zero.txt", "writable.txt"}) {
    const auto file = write("c.json", std::string(R"({"caches": {"a": {"backend": "redis",
      "options": {"password": "${file:)") +
                                          path + R"(}"}}}})");
    static_cast<void>(problem_of([&] { static_cast<void>(Config::from_file(file)); }));
    EXPECT_EQ(open_descriptors(), before) << path;
  }
}

TEST_F(ConfigFiles, FolderAndPlacesAreTheFiles) {
  const auto file = write("c.json", R"({"caches": {"a": {"backend": "locmem"}}})");
  const Config config = Config::from_file(file);
  EXPECT_EQ(config.folder, folder);
  EXPECT_EQ(config.places.at("caches.a.backend"), file.string() + ":1");
}

TEST_F(ConfigFiles, AMissingFileAndAFolderAreErrors) {
  const auto problem = [](const std::filesystem::path& file) {
    return problem_of([&] { static_cast<void>(Config::from_file(file)); });
  };
  const std::string none = (folder / "none.json").string();
  EXPECT_EQ(problem(none), none + ": cannot be read: No such file or directory");
  EXPECT_EQ(problem(folder), folder.string() + ": cannot be read: Is a directory");
  const auto large = write("large.json", std::string((16U << 20U) + 1, ' '));
  EXPECT_EQ(problem(large), large.string() + ": is larger than 16384 KiB");
}

TEST_F(ConfigFiles, TheEnvironmentNamesTheFile) {
  const auto file = write("c.json", R"({"caches": {"mine": {"backend": "dummy"}}})");
  const Variable variable("POLYCACHE_CONFIG", file.c_str());
  EXPECT_TRUE(Config::from_environment().caches.contains("mine"));
}

TEST_F(ConfigFiles, AMissingFileOfTheEnvironmentIsAnError) {
  const std::string none = (folder / "none.json").string();
  const Variable variable("POLYCACHE_CONFIG", none.c_str());
  EXPECT_EQ(problem_of([] { static_cast<void>(Config::from_environment()); }),
            none + ": cannot be read: No such file or directory; POLYCACHE_CONFIG names this file");
}

TEST(ConfigTest, WithoutTheEnvironmentThereIsOneLocmem) {
  for (const char* value : {static_cast<const char*>(nullptr), ""}) {
    const Variable variable("POLYCACHE_CONFIG", value);
    const Config config = Config::from_environment();
    ASSERT_EQ(config.caches.size(), 1U);
    EXPECT_EQ(config.caches.at("default").backend, "locmem");
  }
}

class Apply : public testing::Test {
 protected:
  const CacheConfig& cache() const { return config.caches.at("a"); }
  std::string problem(std::string_view assignment) {
    return problem_of([&] { config.apply(assignment); });
  }

  Config config = Config::from_json(R"({"caches": {"a": {"backend": "locmem",
    "location": ["x", "y"],
    "options": {"n": 1, "m": 2}}}})",
                                    "c.json");
};

TEST_F(Apply, TakesJsonOrElseAString) {
  config.apply("a.timeout=60s");
  EXPECT_EQ(cache().timeout, Timeout(60s));
  config.apply("a.timeout=60");
  EXPECT_EQ(cache().timeout, Timeout(60s));
  config.apply("a.timeout=null");
  EXPECT_EQ(cache().timeout, never);
  config.apply("a.location=redis://h/1?x=y");
  EXPECT_THAT(cache().location, ElementsAre("redis://h/1?x=y"));
  config.apply("a.location=[::1]:11211");
  EXPECT_THAT(cache().location, ElementsAre("[::1]:11211"));
  config.apply(R"(a.location=["p", "q"])");
  EXPECT_THAT(cache().location, ElementsAre("p", "q"));
  config.apply("a.key_prefix=2024");
  EXPECT_EQ(cache().key_prefix, "2024");
  config.apply("a.key_prefix=");
  EXPECT_EQ(cache().key_prefix, "");
  config.apply(R"(a.layers=["metrics"])");
  EXPECT_EQ(cache().layers.size(), 1U);
  config.apply("a.on_error=throw");
  EXPECT_EQ(cache().on_error.write, ErrorPolicy::throw_error);
}

TEST_F(Apply, ChangesOneOptionOrAll) {
  config.apply("a.options.n=100");
  EXPECT_THAT(cache().options, ElementsAre(Pair("m", OptionValue(std::int64_t{2})),
                                           Pair("n", OptionValue(std::string("100")))));
  config.apply("a.options.dotted.name=64MiB");
  EXPECT_EQ(cache().options.at("dotted.name"), OptionValue(std::string("64MiB")));
  config.apply(R"(a.options={"k": true})");
  EXPECT_THAT(cache().options, ElementsAre(Pair("k", OptionValue(true))));
}

TEST_F(Apply, APasswordOfDigitsIsTakenAsItIsWritten) {
  for (const char* digits : {"12345", "007", "1e5", "1.0", "true", "99999999999999999999999"}) {
    config.apply(std::string("a.options.password=") + digits);
    const OptionReader reader("caches.a", cache().location, cache().options);
    EXPECT_EQ(reader.string("password", ""), digits);
  }
  config.apply("a.options.n=12");
  const OptionReader reader("caches.a", cache().location, cache().options);
  EXPECT_EQ(reader.integer("n", 0), 12);
}

TEST_F(Apply, MakesAnAlias) {
  config.apply("new.backend=dummy", "--cache");
  EXPECT_EQ(config.caches.at("new").backend, "dummy");
  EXPECT_EQ(config.places.at("caches.new"), "--cache");
}

TEST_F(Apply, MovesThePlaceAndForgetsTheOldOnes) {
  const Variable secret("CONFIG_TEST_SECRET", "hunter2");
  EXPECT_EQ(config.places.at("caches.a.location[1]"), "c.json:2");
  config.apply("a.location=${CONFIG_TEST_SECRET}", "--cache");
  EXPECT_THAT(cache().location, ElementsAre("hunter2"));
  EXPECT_EQ(config.places.at("caches.a.location"), "--cache");
  EXPECT_FALSE(config.places.contains("caches.a.location[1]"));
  EXPECT_TRUE(config.hidden.contains("caches.a.location"));
  config.apply("a.location=z");
  EXPECT_THAT(config.hidden, IsEmpty());
  config.apply("a.options.n=5", "--cache");
  EXPECT_EQ(config.places.at("caches.a.options.n"), "--cache");
  EXPECT_EQ(config.places.at("caches.a.options.m"), "c.json:3");
}

TEST_F(Apply, ReportsProblemsAndChangesNothing) {
  EXPECT_EQ(problem("a.timeout=soon"),
            "assignment: caches.a.timeout: expected a duration such as \"5m\", a number of "
            "seconds, or null for never, got \"soon\"");
  EXPECT_EQ(problem("a.timeuot=5"),
            "assignment: caches.a.timeuot: unknown member; did you mean \"timeout\"?");
  EXPECT_THAT(problem("a.options.n={}"), HasSubstr("objects cannot be nested in options"));
  EXPECT_THAT(problem("a.options.=5"), HasSubstr("an option needs a name"));
  EXPECT_THAT(problem(R"(a.options={"x": 1, "x": 2})"), HasSubstr("given twice"));
  EXPECT_THAT(problem("a.=5"), HasSubstr("unknown member"));
  EXPECT_THAT(problem(".timeout=5"), HasSubstr("an alias must not be empty"));
  EXPECT_THAT(problem("new.verison=5"), HasSubstr("did you mean \"version\"?"));
  EXPECT_FALSE(config.caches.contains("new"));
  EXPECT_EQ(cache().timeout, Timeout(300s));
  EXPECT_THAT(cache().options, ElementsAre(Pair("m", OptionValue(std::int64_t{2})),
                                           Pair("n", OptionValue(std::int64_t{1}))));
}

TEST_F(Apply, ShowsNoSecret) {
  for (const char* assignment :
       {"hunter2", "a.options.password hunter2", "timeout=hunter2", "a.options=hunter2",
        "a.password=hunter2", R"(a.location={"url": "hunter2"})"}) {
    const std::string message = problem(assignment);
    EXPECT_THAT(message, HasSubstr("assignment: ")) << assignment;
    EXPECT_THAT(message, Not(HasSubstr("hunter2"))) << assignment;
  }
}

}  // namespace
}  // namespace polycache
