// What the next features add: each of it here, by code that changed nothing of polycache.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporter.h"
#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "recipe.h"
#include "services.h"
#include "sham_extension.h"

namespace {

using polycache::Cache;
using polycache::CacheConfig;
using polycache::CacheRegistry;
using polycache::Config;
using polycache::Environment;
using polycache::PluginDescriptor;
using ::testing::Contains;
using ::testing::HasSubstr;

CacheConfig locmem(const std::string& location) {
  return {.backend = "locmem", .location = {location}};
}

Config with_plugins(std::map<std::string, CacheConfig, std::less<>> caches) {
  return {
      .caches = std::move(caches), .plugin_path = {GROWTH_PLUGINS}, .allow_writable_plugins = true};
}

Environment quiet() { return {.on_warning = {}, .linked_plugins = {&polycache::locmem::plugin}}; }

Config pair(std::vector<polycache::LayerConfig> layers = {}) {
  return with_plugins({{"near", locmem("growth_near")},
                       {"far", locmem("growth_far")},
                       {"both", {.backend = "growth_pair", .layers = std::move(layers)}}});
}

TEST(Growth, ACompositeOfTwoPartsIsAStore) {
  auto factories = std::make_shared<growth::FactoryCount>();
  Environment environment = quiet();
  environment.services[std::string(growth::FactoryCount::id)] = factories;
  CacheRegistry registry(pair(), environment);
  Cache& both = registry["both"];
  both.clear();
  both.set("hot", "h");
  both.set("cold", "c");
  EXPECT_EQ(both.get("hot"), "h");
  EXPECT_EQ(both.get("cold"), "c");
  EXPECT_EQ(registry["near"].get("hot"), "h");
  EXPECT_EQ(registry["near"].get("cold"), std::nullopt);
  EXPECT_EQ(factories->made, 1U);
}

TEST(Growth, AnExtensionOfASessionReachesTheProgram) {
  CacheRegistry registry(pair(), quiet());
  auto* const parts = registry["both"].extension<growth::PartsExtension>();
  ASSERT_NE(parts, nullptr);
  EXPECT_EQ(parts->part_of("a hot key"), "near");
  EXPECT_EQ(registry["near"].extension<growth::PartsExtension>(), nullptr);
}

TEST(Growth, ATransparentLayerHidesNothingAndSeesEachCall) {
  auto calls = std::make_shared<growth::CallCount>();
  Environment environment = quiet();
  environment.services[std::string(growth::CallCount::id)] = calls;
  Config config = pair({{"growth_layer"}});
  config.caches["near"].layers = {{"growth_layer"}};
  CacheRegistry registry(config, environment);
  auto* const parts = registry["both"].extension<growth::PartsExtension>();
  ASSERT_NE(parts, nullptr);
  EXPECT_EQ(parts->part_of("hot"), "near");
  Cache& near = registry["near"];
  near.set("k", "v");
  const int before = calls->seen.load();
  EXPECT_EQ(near.pop("k"), "v");
  EXPECT_GT(calls->seen.load(), before);
  EXPECT_NE(near.extension<polycache::TtlExtension>(), nullptr);
  EXPECT_NE(near.extension<polycache::CompareExtension>(), nullptr);
}

TEST(Growth, ATransformChangesWhatAnyStoreHas) {
  Config config = pair();
  config.caches["both"].transform = {{"growth_rot13"}};
  CacheRegistry registry(config, quiet());
  Cache& both = registry["both"];
  both.set("k", "Hello");
  EXPECT_EQ(both.get("k"), "Hello");
  std::string stored;
  both.backend().get(both.final_key("k"), [&](std::string_view bytes) { stored = bytes; });
  EXPECT_THAT(stored, HasSubstr("Uryyb"));
}

TEST(Growth, ASectionWithItsRecipeFollowsAReconfiguration) {
  const auto config = [](const std::string& value, const std::string& more = "") {
    Config read = Config::from_json(R"({"caches": {"default": {"backend": "locmem",
      "location": "growth_warmed"}}, "growth_warm": {"default": {"pairs": [
      {"key": "k", "value": ")" + value +
                                        R"("}])" + more + "}}}",
                                    "growth.json");
    return read;
  };
  Environment environment = quiet();
  environment.sections["growth_warm"] = growth::read_warms;
  CacheRegistry registry(config("one"), environment);
  const growth::Warmer warmer(registry);
  EXPECT_EQ(registry["default"].get("k"), "one");
  registry.reconfigure(config("two"));
  EXPECT_EQ(registry["default"].get("k"), "two");
  try {
    registry.reconfigure(config("three", R"(, "par": [])"));
    FAIL() << "did not throw";
  } catch (const polycache::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("growth.json:3: growth_warm.default.par: unknown"));
  }
  EXPECT_EQ(registry["default"].get("k"), "two");
}

class Names final : public polycache::Observer {
 public:
  void begin(const polycache::Call&) noexcept override {}
  void end(const polycache::Call& call, const polycache::CallEnd& end) noexcept override {
    const std::lock_guard lock(mutex_);
    lines.push_back(std::string(name_of(call.op)) + ' ' + std::string(name_of(end.result)));
  }
  std::vector<std::string> lines;

 private:
  std::mutex mutex_;
};

TEST(Growth, AnObserverSeesWhatCallersSee) {
  const auto names = std::make_shared<Names>();
  Environment environment = quiet();
  environment.observer = names;
  CacheRegistry registry(with_plugins({{"default", locmem("growth_seen")}}), environment);
  registry["default"].clear();
  registry["default"].get("k");
  registry["default"].get_or_set("k", 7);
  registry["default"].get<int>("k");
  EXPECT_THAT(names->lines,
              ::testing::ElementsAre("clear hit", "get miss", "get_or_set miss", "get hit"));
}

TEST(Growth, APluginOfAnotherKindIsFoundInThePluginPath) {
  CacheRegistry registry(with_plugins({{"default", locmem("growth_exported")}}), quiet());
  const PluginDescriptor& plugin = registry.plugin(growth::exporter_kind, "growth_exporter");
  const auto* const exporter = static_cast<const growth::Exporter*>(plugin.payload.data);
  registry["default"].clear();
  registry["default"].get("k");
  EXPECT_EQ(exporter->line("default", registry["default"].statistics()), "default 0/1");
  EXPECT_THROW(registry.plugin(polycache::PluginKind::backend, "growth_exporter"),
               polycache::PluginError);
}

// What a plugin of the first version of this ABI has, whatever is appended to it later.
struct FirstDescriptor {
  char magic[8];
  std::uint32_t size;
  std::uint32_t abi_version;
  std::uint32_t kind;
  std::uint32_t flags;
  const char* abi;
  const char* library_version;
  const char* compiler;
  const char* name;
  const char* plugin_version;
  const void* payload;
};
static_assert(sizeof(FirstDescriptor) == 72);

TEST(Growth, ADescriptorOfTheFirstSizeIsAPlugin) {
  const PluginDescriptor& now = polycache::locmem::plugin;
  FirstDescriptor first{{'p', 'l', 'y', 'c', 'a', 'c', 'h', 'e'},
                        sizeof(FirstDescriptor),
                        POLYCACHE_ABI_VERSION,
                        1,
                        0,
                        POLYCACHE_ABI,
                        "0.1.0",
                        "a compiler",
                        "first",
                        "1.0",
                        reinterpret_cast<const void*>(now.payload.create)};
  CacheRegistry registry(
      with_plugins({{"default", {.backend = "first"}}}),
      {.on_warning = {}, .linked_plugins = {reinterpret_cast<const PluginDescriptor*>(&first)}});
  registry["default"].set("k", "v");
  EXPECT_EQ(registry["default"].get("k"), "v");
}

}  // namespace
