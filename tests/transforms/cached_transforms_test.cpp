// Stock transforms in front of stores: everything that a cache promises stays the same, and old
// entries stay readable when a transform is switched on, off or over.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "transforms/samples.h"
#include "transforms/stock_transforms.h"
#ifdef WITH_SQLITE
#include "polycache/backends/sqlite.h"
#endif

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const OptionMap read_only{{"write", false}};

LayerConfig listed(const StockTransform& transform, const OptionMap& more = {}) {
  LayerConfig layer{transform.name(), transform.options};
  layer.options.insert(more.begin(), more.end());
  return layer;
}

// What a test runs with: a store, and the transforms of the alias "on".
struct Setup {
  std::string backend;
  std::vector<StockTransform> transforms;

  std::string name() const {
    std::string name = backend;
    for (const StockTransform& transform : transforms) name += "_" + transform.name();
    return name;
  }
};

void PrintTo(const Setup& setup, std::ostream* out) { *out << setup.name(); }

std::vector<Setup> setups() {
  std::vector<std::string> backends{"locmem"};
#ifdef WITH_SQLITE
  backends.emplace_back("sqlite");
#endif
  std::vector<Setup> all;
  for (const std::string& backend : backends) {
    for (const StockTransform& transform : stock_transforms())
      all.push_back({backend, {transform}});
#if defined(WITH_ZSTD) && defined(WITH_AEAD)
    all.push_back({backend, {stock_transforms().front(), stock_transforms().back()}});
#endif
  }
  return all;
}

class CachedTransforms : public ::testing::TestWithParam<Setup> {
 protected:
  void SetUp() override {
    std::vector<LayerConfig> on;
    std::vector<LayerConfig> over;
    for (const StockTransform& transform : GetParam().transforms) {
      on.push_back(listed(transform));
      over.push_back(listed(transform, read_only));
    }
    Config config;
    config.caches = {{"plain", alias({})}, {"on", alias(on)}, {"off", alias(over)}};
    // Each transform over to each other one.
    for (const StockTransform& other : stock_transforms()) {
      std::vector<LayerConfig> list = over;
      const auto is_there = [&](const LayerConfig& one) { return one.name == other.name(); };
      std::erase_if(list, is_there);
      list.push_back(listed(other));
      config.caches["over_to_" + other.name()] = alias(list);
    }
    Environment environment{
        .clock = &clock_,
        .on_warning = [this](const Warning& w) { warnings_.emplace_back(w.message); },
        .linked_plugins = {&locmem::plugin}};
#ifdef WITH_SQLITE
    environment.linked_plugins.push_back(&sqlite::plugin);
#endif
    for (const StockTransform& transform : stock_transforms()) {
      environment.linked_plugins.push_back(transform.plugin);
    }
    registry_ = std::make_unique<CacheRegistry>(config, environment);
  }
  void TearDown() override {
    if (registry_) registry_->close_all();
  }

  // All aliases have the same entries.
  static CacheConfig alias(std::vector<LayerConfig> transform) {
    const std::string location =
        GetParam().backend == "sqlite" ? ":memory:stock_transforms" : "stock_transforms";
    return {
        .backend = GetParam().backend, .location = {location}, .transform = std::move(transform)};
  }

  Cache& cache(const std::string& name = "on") { return (*registry_)[name]; }
  std::string stored(std::string_view key) {
    std::string bytes;
    Cache& plain = cache("plain");
    plain.backend().get(plain.final_key(key), [&](std::string_view b) { bytes = b; });
    return bytes;
  }

  ManualClock clock_;
  std::vector<std::string> warnings_;
  std::unique_ptr<CacheRegistry> registry_;
  const std::string value_ = structured(5000);
};

INSTANTIATE_TEST_SUITE_P(All, CachedTransforms, ::testing::ValuesIn(setups()),
                         [](const auto& tested) { return tested.param.name(); });

TEST_P(CachedTransforms, EveryOperationWorksAsWithout) {
  Cache& on = cache();
  for (const std::string& value : {value_, random_bytes(5000), std::string("short"), std::string(),
                                   std::string("\xC1pc\1"), std::string(200'000, 'x')}) {
    SCOPED_TRACE(value.size());
    EXPECT_TRUE(on.set("k", value, 60s));
    EXPECT_EQ(on.get("k"), value);
    EXPECT_THAT(on.get_many({"k", "none"}), ElementsAre(value, std::nullopt));
    EXPECT_TRUE(on.contains("k"));
    EXPECT_FALSE(on.add("k", "another"));
    EXPECT_TRUE(on.touch("k", 120s));
    clock_.advance(90s);
    EXPECT_EQ(on.get_or_set("k", "another"), value);
    EXPECT_EQ(on.incr_version("k"), 2);
    EXPECT_EQ(on.get("k"), std::nullopt);
    EXPECT_EQ(on.get("k", {.version = 2}), value);
    EXPECT_EQ(on.pop("k", {.version = 2}), value);
    EXPECT_EQ(on.get_or_set("k", [&] { return value; }), value);
    EXPECT_EQ(on.get_or_set("k", "another"), value);
    EXPECT_TRUE(on.erase("k"));
    EXPECT_THAT(on.set_many({{"k", value}, {"l", std::string("x")}}), IsEmpty());
    std::string seen;
    EXPECT_TRUE(on.visit("k", [&](std::string_view bytes) { seen = bytes; }));
    EXPECT_EQ(seen, value);
    clock_.advance(1h);
    EXPECT_FALSE(on.contains("k"));
  }
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_P(CachedTransforms, TheStoreDoesNotHaveTheValueInPlain) {
  cache().set("k", value_);
  EXPECT_THAT(stored("k"), Not(HasSubstr(value_.substr(0, 100))));
}

TEST_P(CachedTransforms, CountersStayPlain) {
  Cache& on = cache();
  on.set("n", 5);
  EXPECT_EQ(stored("n"), "5");
  EXPECT_EQ(on.incr("n"), 6);
  EXPECT_EQ(on.decr("n", 16), -10);
  EXPECT_EQ(stored("n"), "-10");
  EXPECT_EQ(on.get<int>("n"), -10);
  EXPECT_EQ(cache("plain").get<int>("n"), -10);
  on.set("text", value_);
  EXPECT_THROW(on.incr("text"), ValueError);
}

TEST_P(CachedTransforms, SwitchingOnLeavesOldEntriesReadable) {
  cache("plain").set("k", value_);
  EXPECT_EQ(cache().get("k"), value_);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_P(CachedTransforms, SwitchingOffLeavesOldEntriesReadable) {
  cache().set("k", value_);
  Cache& off = cache("off");
  EXPECT_EQ(off.get("k"), value_);
  off.set("k", value_);
  EXPECT_EQ(stored("k"), value_);  // what is written now is plain
  EXPECT_EQ(cache("plain").get("k"), value_);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_P(CachedTransforms, SwitchingOverLeavesOldEntriesReadable) {
  for (const StockTransform& other : stock_transforms()) {
    SCOPED_TRACE(other.name());
    cache().set("k", value_);
    Cache& over = cache("over_to_" + other.name());
    EXPECT_EQ(over.get("k"), value_);
    over.set("k", value_);
    EXPECT_THAT(stored("k"), HasSubstr(other.name()));  // in the frame
    EXPECT_EQ(over.get("k"), value_);
  }
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_P(CachedTransforms, AnAliasThatLacksTheTransformSaysSo) {
  cache().set("k", value_);
  EXPECT_EQ(cache("plain").get("k"), std::nullopt);
  const std::string last = GetParam().transforms.back().name();
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("was stored with the transform \"" + last +
                                               "\", which this alias does not have")));
}

TEST_P(CachedTransforms, ADamagedEntryIsAMissAndIsReplaced) {
  Cache& on = cache();
  on.set("k", value_);
  std::string bytes = stored("k");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  on.backend().put(on.final_key("k"), bytes, Ttl::forever(), PutMode::always);
  EXPECT_EQ(on.get("k"), std::nullopt);
  const std::string last = GetParam().transforms.back().name();
  EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("\":1:k\" was refused by the transform"),
                                           HasSubstr(last), HasSubstr("it counts as a miss"))));
  EXPECT_EQ(on.get_or_set("k", "made"), "made");
  EXPECT_EQ(on.get("k"), "made");
}

// --- Configurations ---

std::string problem_of(std::vector<LayerConfig> transform) {
  Environment environment{.linked_plugins = {&locmem::plugin}};
  for (const StockTransform& one : stock_transforms()) {
    environment.linked_plugins.push_back(one.plugin);
  }
  try {
    const CacheRegistry registry(
        {.caches = {{"shop", {.backend = "locmem", .transform = std::move(transform)}}}},
        environment);
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

#ifdef WITH_AEAD
TEST(TransformOrder, EncryptionBeforeACompressorIsAConfigError) {
  const StockTransform aead = stock_transforms().back();
  for (const StockTransform& compressor : stock_compressors()) {
    const std::string name = '"' + compressor.name() + '"';
    EXPECT_EQ(problem_of({listed(compressor), listed(aead)}), "");
    EXPECT_THAT(problem_of({listed(aead), listed(compressor)}),
                AllOf(HasSubstr("caches.shop.transform: " + name +
                                " compresses and comes after "
                                "\"aead\", which encrypts"),
                      HasSubstr("write " + name + " before \"aead\"")));
    // Nothing is compressed by it.
    EXPECT_EQ(problem_of({listed(aead), listed(compressor, read_only)}), "");
  }
}

TEST(TransformOrder, ARequiredTransformMustWrite) {
  const StockTransform aead = stock_transforms().back();
  EXPECT_THAT(problem_of({listed(aead, {{"write", false}, {"require", true}})}),
              HasSubstr("caches.shop.transform: \"aead\" requires that every value is stored with "
                        "it, so its option \"write\" must not be false"));
}
#endif

TEST(TransformOrder, WriteIsTrueOrFalse) {
  EXPECT_THAT(problem_of({listed(stock_transforms().front(), {{"write", std::string("maybe")}})}),
              HasSubstr("caches.shop.transform[0].options.write: expected true or false"));
}

}  // namespace
}  // namespace polycache::testing
