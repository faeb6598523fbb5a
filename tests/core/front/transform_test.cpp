// Transforms change the bytes of values; everything that a cache promises stays the same.

#include "polycache/author/transform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Runs of one byte become a count and the byte. Declines what would not get shorter.
class RunLength final : public Transform {
 public:
  bool apply(std::string_view value, const TransformContext&, std::string& out) override {
    for (std::size_t i = 0; i < value.size();) {
      std::size_t run = 1;
      while (run < 255 && i + run < value.size() && value[i + run] == value[i]) ++run;
      out.push_back(static_cast<char>(run));
      out.push_back(value[i]);
      i += run;
    }
    return out.size() < value.size();
  }
  TransformEffect effect() const noexcept override { return TransformEffect::compresses; }
  bool revert(std::string_view stored, const TransformContext&, std::string& out) override {
    if (stored.size() % 2 != 0) return false;
    for (std::size_t i = 0; i < stored.size(); i += 2) {
      out.append(static_cast<unsigned char>(stored[i]), stored[i + 1]);
    }
    return true;
  }
};

// Hides the value, and binds it to its key: the first byte is a sum of key and head.
class Seal final : public Transform {
 public:
  explicit Seal(std::int64_t secret) : secret_(static_cast<char>(secret)) {}
  bool apply(std::string_view value, const TransformContext& context, std::string& out) override {
    if (value == "unsealable") throw std::runtime_error("no seal for this");
    out.push_back(sum(context));
    for (const char c : value) out.push_back(static_cast<char>(c ^ secret_));
    return true;
  }
  bool revert(std::string_view stored, const TransformContext& context, std::string& out) override {
    if (stored.empty() || stored.front() != sum(context)) return false;
    for (const char c : stored.substr(1)) out.push_back(static_cast<char>(c ^ secret_));
    return true;
  }
  bool reads_plain() const noexcept override { return false; }
  TransformEffect effect() const noexcept override { return TransformEffect::encrypts; }

 private:
  char sum(const TransformContext& context) const {
    char sum = secret_;
    for (const char c : context.final_key) sum = static_cast<char>(sum * 31 + c);
    for (const char c : context.head) sum = static_cast<char>(sum * 31 + c);
    return sum;
  }
  char secret_;
};

constexpr PluginDescriptor run_length =
    transform_plugin("run_length", "1.0",
                     [](const OptionReader&, const BackendContext&) -> std::unique_ptr<Transform> {
                       return std::make_unique<RunLength>();
                     });
constexpr PluginDescriptor seal = transform_plugin(
    "seal", "1.0",
    [](const OptionReader& options, const BackendContext&) -> std::unique_ptr<Transform> {
      return std::make_unique<Seal>(options.integer("secret", 0, 1, 127));
    });

class TransformTest : public ::testing::Test {
 protected:
  Environment environment() {
    return {.clock = &clock,
            .on_warning = [this](const Warning& w) { warnings.emplace_back(w.message); },
            .linked_plugins = {&locmem::plugin, &run_length, &seal}};
  }
  // All aliases have the same entries.
  static CacheConfig alias(std::vector<LayerConfig> transform) {
    return {.backend = "locmem", .location = {"transform_test"}, .transform = std::move(transform)};
  }
  static inline const OptionMap read_only{{"write", false}};
  static LayerConfig sealed(std::int64_t secret = 42) { return {"seal", {{"secret", secret}}}; }
  std::string stored(std::string_view key) {
    std::string bytes;
    Cache& plain = registry["plain"];
    plain.backend().get(plain.final_key(key), [&](std::string_view b) { bytes = b; });
    return bytes;
  }

  testing::ManualClock clock;
  std::vector<std::string> warnings;
  CacheRegistry registry{{.caches = {{"plain", alias({})},
                                     {"short", alias({{"run_length"}})},
                                     {"seal", alias({sealed()})},
                                     {"both", alias({{"run_length"}, sealed()})},
                                     {"other", alias({sealed(43)})},
                                     {"no_more_short", alias({{"run_length", read_only}})}}},
                         environment()};
  std::string runs = std::string(1000, 'a') + std::string(500, 'b');
};

TEST_F(TransformTest, ValuesComeBackUnchanged) {
  for (const char* const name : {"plain", "short", "seal", "both"}) {
    Cache& cache = registry[name];
    cache.clear();
    for (const std::string& value : {runs, std::string("short"), std::string(),
                                     std::string("\xC1pc"), std::string("\xC1pc\1\0\0", 6)}) {
      EXPECT_TRUE(cache.set("k", value)) << name;
      EXPECT_EQ(cache.get("k"), value) << name;
      EXPECT_EQ(cache.get_many({"k", "none"}).front(), value) << name;
      EXPECT_TRUE(cache.contains("k"));
      EXPECT_TRUE(cache.touch("k", 60s));
      EXPECT_FALSE(cache.add("k", "another")) << name;
      EXPECT_EQ(cache.get_or_set("k", "another"), value) << name;
      EXPECT_EQ(cache.pop("k"), value) << name;
      EXPECT_EQ(cache.get_or_set("k", value), value) << name;
      EXPECT_EQ(cache.get_or_set("k", "another"), value) << name;
      EXPECT_TRUE(cache.erase("k"));
      EXPECT_THAT(cache.set_many({{"k", value}, {"n", std::string("x")}}), IsEmpty()) << name;
      EXPECT_EQ(cache.get("k"), value) << name;
      std::string seen;
      EXPECT_TRUE(cache.visit("k", [&](std::string_view bytes) { seen = bytes; }));
      EXPECT_EQ(seen, value) << name;
      cache.erase("k");
    }
  }
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(TransformTest, TheStoreHasTheTransformedBytes) {
  registry["short"].set("k", runs);
  EXPECT_LT(stored("k").size(), 100U);
  registry["short"].set("k", "abc");  // does not get shorter
  EXPECT_EQ(stored("k"), "abc");
  registry["both"].set("k", runs);
  EXPECT_THAT(stored("k"), Not(HasSubstr("a\xff")));
  EXPECT_LT(stored("k").size(), 100U);
  registry["seal"].set("k", "secret");
  EXPECT_THAT(stored("k"), Not(HasSubstr("secret")));
}

TEST_F(TransformTest, CountersStayCounters) {
  Cache& cache = registry["both"];
  cache.set("n", 5);
  EXPECT_EQ(stored("n"), "5");
  EXPECT_EQ(cache.incr("n"), 6);
  EXPECT_EQ(cache.get<int>("n"), 6);
  EXPECT_EQ(cache.incr("m", 2, {.initial = 10}), 12);
  EXPECT_EQ(cache.get<int>("m"), 12);
  cache.set("text", runs);
  EXPECT_THROW(cache.incr("text"), ValueError);
}

TEST_F(TransformTest, AnExpiredEntryStaysReadable) {
  for (const char* const name : {"plain", "short", "seal", "both"}) {
    Cache& cache = registry[name];
    cache.set("k", runs);
    EXPECT_TRUE(cache.expire("k")) << name;
    EXPECT_FALSE(cache.get("k")) << name;
    EXPECT_EQ(cache.get_entry("k").status, EntryStatus::stale) << name;
    EXPECT_EQ(cache.get_entry("k").value, runs) << name;
    EXPECT_EQ(cache.pop_entry("k").value, runs) << name;
    cache.set("n", 5);
    EXPECT_TRUE(cache.expire("n")) << name;
    EXPECT_EQ(cache.get_entry<int>("n").value, 5) << name;
    cache.set("tagged", runs, {.tags = {"t"}});
    EXPECT_TRUE(cache.expire("tagged")) << name;
    EXPECT_EQ(cache.get_entry("tagged").value, runs) << name;
  }
  registry["plain"].set("plain", "a value without a seal");
  EXPECT_FALSE(registry["seal"].expire("plain"));
  EXPECT_THAT(warnings, IsEmpty());
}

// A seal covers the times of the head.
TEST_F(TransformTest, ATouchOfAnEntryThatSaysHowLongItIsFreshSealsItAgain) {
  const auto number = [](std::int64_t n, int size) {
    std::string bytes;
    for (; size > 0; --size, n >>= 8) bytes.push_back(static_cast<char>(n & 0xff));
    return bytes;
  };
  const std::int64_t now =
      std::chrono::floor<std::chrono::milliseconds>(clock.system_now()).time_since_epoch().count();
  const std::string times = number(now, 8) + number(now + 60'000, 8) + number(0, 4) + number(30, 4);
  const std::string field = std::string("\x80\x04") + "seal";
  Cache& cache = registry["seal"];
  std::string payload;
  Seal(42).apply("secret",
                 {.final_key = cache.final_key("k"),
                  .head = std::string("\xC1pc\x01\x08") + number(0, 3) + times},
                 payload);
  const std::string frame = std::string("\xC1pc\x01\x08") +
                            number(32 + static_cast<std::int64_t>(field.size()), 3) + times +
                            field + payload;
  cache.backend().put(cache.final_key("k"), frame, Ttl(90s), PutMode::always);
  EXPECT_EQ(cache.get("k"), "secret");
  EXPECT_TRUE(cache.touch("k", 1h));
  EXPECT_EQ(cache.get_entry("k").left, 1h);
  EXPECT_EQ(cache.get("k", {.touch = 2h}), "secret");
  EXPECT_EQ(cache.get_entry("k").left, 2h);
  EXPECT_TRUE(cache.persist("k"));
  EXPECT_EQ(cache.get_entry("k").left, std::nullopt);
  EXPECT_TRUE(cache.expire("k"));
  EXPECT_EQ(cache.get_entry("k").value, "secret");
  EXPECT_EQ(stored("k").size(), frame.size());
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(TransformTest, SwitchingOnOffOrOverLeavesOldEntriesReadable) {
  registry["plain"].set("old", runs);
  EXPECT_EQ(registry["short"].get("old"), runs);
  EXPECT_EQ(registry["seal"].get("old"), std::nullopt);  // it accepts nothing that is not sealed
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("was stored without the transform \"seal\"")));
  warnings.clear();
  registry["short"].set("new", runs);
  EXPECT_EQ(registry["both"].get("new"), std::nullopt);
  EXPECT_THAT(warnings,
              ElementsAre(HasSubstr(
                  "was stored without the transform \"seal\", which this alias requires")));
  warnings.clear();
  EXPECT_EQ(registry["plain"].get("new"), std::nullopt);
  EXPECT_THAT(warnings, ElementsAre("the entry \":1:new\" was stored with the transform "
                                    "\"run_length\", which this alias does not have; it counts as "
                                    "a miss"));
  warnings.clear();
  registry["seal"].set("sealed", runs);
  EXPECT_EQ(registry["both"].get("sealed"), runs);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(TransformTest, ATransformThatDoesNotWriteStillReads) {
  registry["short"].set("k", runs);
  Cache& cache = registry["no_more_short"];
  EXPECT_EQ(cache.get("k"), runs);
  EXPECT_EQ(cache.incr_version("k"), 2);  // reverts, and does not apply again
  EXPECT_EQ(registry["plain"].get("k", {.version = 2}), runs);
  cache.set("k", runs);
  EXPECT_EQ(stored("k"), runs);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(TransformTest, AnEntryThatATransformRefusesIsAMissAndIsReplaced) {
  registry["seal"].set("k", "v");
  Cache& other = registry["other"];
  EXPECT_EQ(other.get("k"), std::nullopt);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("was refused by the transform \"seal\"")));
  EXPECT_EQ(other.get_or_set("k", "mine"), "mine");
  EXPECT_EQ(other.get("k"), "mine");
}

TEST_F(TransformTest, AnEntryThatAnAliasDoesNotAcceptIsAbsentForAdd) {
  registry["plain"].set("k", "in plain text");
  Cache& cache = registry["seal"];
  EXPECT_FALSE(cache.contains("k"));
  EXPECT_FALSE(cache.touch("k", 60s));
  EXPECT_TRUE(cache.add("k", "mine"));
  EXPECT_EQ(cache.get("k"), "mine");
  cache.set("n", 5);
  EXPECT_TRUE(cache.contains("n"));
  EXPECT_FALSE(cache.add("n", 6));
}

// The names of the transforms before it are part of what a seal binds to.
TEST_F(TransformTest, ANameCannotBeTakenOffASealedEntry) {
  Cache& cache = registry["both"];
  cache.set("k", runs);
  std::string bytes = stored("k");
  const std::string names = "run_length,seal";
  const std::size_t at = bytes.find(names);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, names.size(), "seal");
  bytes[at - 1] = 4;  // the field's length
  bytes[5] = static_cast<char>(bytes[5] - static_cast<char>(names.size() - 4));  // the head's
  cache.backend().put(cache.final_key("k"), bytes, Ttl::forever(), PutMode::always);
  EXPECT_EQ(cache.get("k"), std::nullopt);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("was refused by the transform \"seal\"")));
}

TEST_F(TransformTest, AValueCannotBeMovedToAnotherKey) {
  Cache& cache = registry["seal"];
  cache.set("k", "v");
  const std::string bytes = stored("k");
  cache.backend().put(cache.final_key("l"), bytes, Ttl::forever(), PutMode::always);
  EXPECT_EQ(cache.get("l"), std::nullopt);
  EXPECT_EQ(cache.get("k"), "v");
}

TEST_F(TransformTest, IncrVersionTransformsForTheNewKey) {
  Cache& cache = registry["both"];
  cache.set("k", runs, 60s);
  EXPECT_EQ(cache.incr_version("k"), 2);
  EXPECT_EQ(cache.get("k"), std::nullopt);
  EXPECT_EQ(cache.get("k", {.version = 2}), runs);
  clock.advance(61s);
  EXPECT_EQ(cache.get("k", {.version = 2}), std::nullopt);
}

TEST_F(TransformTest, WhatATransformThrowsReachesTheWriter) {
  Cache& cache = registry["seal"];
  EXPECT_THROW(cache.set("k", "unsealable"), std::runtime_error);
  EXPECT_THROW(cache.set_many({{"k", "unsealable"}}), std::runtime_error);
  EXPECT_FALSE(cache.contains("k"));
  EXPECT_EQ(cache.get_or_set("k", "unsealable"), "unsealable");  // computed, but not stored
  EXPECT_FALSE(cache.contains("k"));
  EXPECT_THAT(warnings,
              ElementsAre(HasSubstr("was not stored: its codec or transform threw: no seal "
                                    "for this")));
  const auto values =
      cache.get_or_set_many<std::string>({"m", "n"}, [](std::span<const std::string>) {
        return std::vector<std::string>{"unsealable", "sealable"};
      });
  EXPECT_EQ(values, (std::vector<std::optional<std::string>>{"unsealable", "sealable"}));
  EXPECT_FALSE(cache.contains("m"));
  EXPECT_EQ(cache.get("n"), "sealable");
  EXPECT_EQ(warnings.size(), 2U);
}

TEST_F(TransformTest, DamagedBytesAreAMiss) {
  Cache& cache = registry["short"];
  cache.set("k", runs);
  std::string bytes = stored("k");
  bytes.pop_back();
  cache.backend().put(cache.final_key("k"), bytes, Ttl::forever(), PutMode::always);
  EXPECT_EQ(cache.get("k"), std::nullopt);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("was refused by the transform \"run_length\"")));
}

TEST_F(TransformTest, ConfigurationsThatCannotWorkAreRefused) {
  const auto problem_of = [&](std::vector<LayerConfig> transform) -> std::string {
    try {
      CacheRegistry wrong({.caches = {{"a", alias(std::move(transform))}}}, environment());
      return "";
    } catch (const CacheError& error) {
      return error.what();
    }
  };
  EXPECT_THAT(problem_of({{"run_lenght"}}),
              HasSubstr("caches.a.transform[0].name: there is no transform \"run_lenght\""));
  EXPECT_THAT(problem_of({{"run_lenght"}}), HasSubstr("did you mean \"run_length\"?"));
  EXPECT_THAT(problem_of({{"run_length"}, {"seal", {{"secret", "x"}}}}),
              HasSubstr("caches.a.transform[1].options.secret: expected an integer"));
  EXPECT_THAT(problem_of({{"run_length"}, {"run_length"}}),
              HasSubstr("the transform \"run_length\" is given twice"));
  EXPECT_THAT(problem_of({{"locmem"}}), HasSubstr("locmem"));
  EXPECT_THAT(problem_of({sealed(), {"run_length"}}),
              HasSubstr("caches.a.transform: \"run_length\" compresses and comes after \"seal\", "
                        "which encrypts, but encrypted bytes cannot be compressed; write "
                        "\"run_length\" before \"seal\""));
  EXPECT_EQ(problem_of({sealed(), {"run_length", read_only}}), "");
  EXPECT_THAT(problem_of({{"run_length", {{"write", std::string("no")}}}}),
              HasSubstr("caches.a.transform[0].options.write: expected true or false, got \"no\""));
  EXPECT_THAT(problem_of({{"seal", {{"secret", std::int64_t{5}}, {"write", false}}}}),
              HasSubstr("caches.a.transform: \"seal\" requires that every value is stored with it, "
                        "so its option \"write\" must not be false"));
}

TEST_F(TransformTest, AreReadFromAFile) {
  const Config config = Config::from_json(R"({"caches": {"a": {"backend": "locmem",
    "transform": ["run_length", {"name": "seal", "options": {"secret": 5}}]}}})");
  ASSERT_EQ(config.caches.at("a").transform.size(), 2U);
  CacheRegistry read(config, environment());
  EXPECT_THAT(read.describe().front().transforms, ElementsAre("run_length", "seal"));
  read["a"].set("k", runs);
  EXPECT_EQ(read["a"].get("k"), runs);
}

}  // namespace
}  // namespace polycache
