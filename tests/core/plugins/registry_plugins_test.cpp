// Plugins as a program meets them: named in a configuration, loaded by the registry of
// libpolycache itself.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/polycache.h"
#include "support/server.h"

namespace polycache {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const std::filesystem::path specimens(SPECIMEN_DIR);

Config with_backend(const std::string& backend) {
  return {.caches = {{"default", {.backend = backend}}}, .plugin_path = {specimens}};
}

// What is thrown when a registry is made of it; a failure of the test if nothing is.
std::string refusal(const Config& config, const Environment& environment = {}) {
  try {
    const CacheRegistry registry(config, environment);
  } catch (const PluginError& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "threw no PluginError, but: " << error.what();
    return {};
  }
  ADD_FAILURE() << "threw nothing";
  return {};
}

// --- Backends ---

TEST(RegistryPlugins, ABackendIsFoundInTheConfiguredFolderAndDescribed) {
  CacheRegistry registry(with_backend("good"));
  EXPECT_TRUE(registry["default"].set("k", "v"));
  const CacheInfo info = registry.describe().at(0);
  EXPECT_EQ(info.backend, "good");
  EXPECT_EQ(info.plugin_file, (specimens / "polycache_good.so").string());
  EXPECT_EQ(info.plugin_version, "1.0");
}

TEST(RegistryPlugins, ABackendIsFoundByAPathFromTheConfigurationsFolder) {
  Config config{.caches = {{"default", {.backend = "./polycache_good.so"}}}, .folder = specimens};
  EXPECT_EQ(CacheRegistry(config).describe().at(0).backend, "good");
}

TEST(RegistryPlugins, AnExceptionOfCreateNamesTheFile) {
  EXPECT_THAT(refusal(with_backend("create_throws")),
              AllOf(HasSubstr("caches.default"), HasSubstr("polycache_create_throws.so"),
                    HasSubstr("the specimen is unwell")));
  EXPECT_THAT(refusal(with_backend("create_throws_number")),
              AllOf(HasSubstr("polycache_create_throws_number.so"),
                    HasSubstr("something that is not a std::exception")));
  EXPECT_THAT(
      refusal(with_backend("creates_nothing")),
      AllOf(HasSubstr("polycache_creates_nothing.so"), HasSubstr("did not create a store")));
}

// For a child process, since the dynamic loader cannot be used afterwards. Prints what is thrown
// for `config`, and for a plugin that is right, on another thread.
[[noreturn]] void print_refusals(const Config& config) {
  ::alarm(200);  // a loader that waits for ever ends as a failure
  std::cerr << "first: " << refusal(config) << '\n';
  std::cerr << "again: " << refusal(config) << '\n';
  std::thread([] { std::cerr << "later: " << refusal(with_backend("good")) << '\n'; }).join();
  std::cerr.flush();
  ::_exit(::testing::Test::HasFailure() ? 1 : 0);
}

TEST(RegistryPluginsDeathTest, AStaticConstructorThatThrowsNamesTheFile) {
  EXPECT_EXIT(print_refusals(with_backend("constructor_throws")), ::testing::ExitedWithCode(0),
              AllOf(HasSubstr("first: caches.default.backend: a static constructor of \""),
                    HasSubstr("polycache_constructor_throws.so\" threw an exception (the specimen "
                              "has no licence)"),
                    HasSubstr("end this process")));
  EXPECT_EXIT(print_refusals(with_backend("constructor_throws_number")),
              ::testing::ExitedWithCode(0),
              HasSubstr("polycache_constructor_throws_number.so\" threw something that is not a "
                        "std::exception"));
}

TEST(RegistryPluginsDeathTest, AfterAStaticConstructorThrewNoPluginIsLoaded) {
  EXPECT_EXIT(print_refusals(with_backend("constructor_throws")), ::testing::ExitedWithCode(0),
              AllOf(HasSubstr("again: caches.default.backend: this process cannot load any "
                              "more plugins: a static constructor of \""),
                    HasSubstr("later: caches.default.backend: this process cannot load any "
                              "more plugins: a static constructor of \"")));
}

TEST(RegistryPluginsDeathTest, AStaticConstructorOfAKeyFunctionThatThrowsIsReported) {
  Config config = with_backend("locmem");
  config.caches["default"].key_function =
      (specimens / "polycache_constructor_throws.so").string() + ":some_function";
  EXPECT_EXIT(print_refusals(config), ::testing::ExitedWithCode(0),
              AllOf(HasSubstr("first: 2 problems"),
                    HasSubstr("caches.default.key_function: a static constructor of \""),
                    HasSubstr("threw an exception (the specimen has no licence)")));
}

TEST(RegistryPlugins, AllPluginProblemsAreReportedAtOnce) {
  Config config = with_backend("another_abi");
  config.caches["second"].backend = "unresolved";
  config.caches["third"].backend = "no_such_thing";
  config.caches["fourth"].backend = "create_throws";
  config.caches["fifth"].backend = "good";
  EXPECT_THAT(
      refusal(config),
      AllOf(HasSubstr("4 problems"), HasSubstr("plugin ABI 99"), HasSubstr("undefined symbol"),
            HasSubstr("there is no backend \"no_such_thing\""), HasSubstr("the specimen is unwell"),
            Not(HasSubstr("caches.fifth"))));
}

TEST(RegistryPlugins, WithDeferredErrorsTheOtherAliasesWork) {
  Config config = with_backend("another_abi");
  config.caches["fine"].backend = "good";
  CacheRegistry registry(config, {.defer_errors = true});
  EXPECT_TRUE(registry["fine"].set("k", "v"));
  EXPECT_THROW(registry["default"], ConfigError);
  EXPECT_THAT(registry.describe().at(0).error, HasSubstr("plugin ABI 99"));
}

TEST(RegistryPlugins, ARefusedReconfigurationLeavesTheOldOneAtWork) {
  CacheRegistry registry(with_backend("good"));
  EXPECT_THROW(registry.reconfigure(with_backend("debug_library")), PluginError);
  EXPECT_TRUE(registry["default"].set("k", "v"));
}

// A folder for plugins, gone after its test, with one alias that needs "good" from there and
// one that does not.
class InstalledPlugins : public ::testing::Test {
 protected:
  std::filesystem::path file() const { return folder_ / "polycache_good.so"; }
  // As package managers do: by renaming, so that no process reads half a file.
  void install() const {
    std::filesystem::copy_file(specimens / "polycache_good.so", folder_ / "new");
    std::filesystem::rename(folder_ / "new", file());
  }
  Config config() const {
    return {.caches = {{"default", {.backend = "good"}}, {"other", {.backend = other()}}},
            .plugin_path = {folder_}};
  }
  static std::string other() { return (specimens / "polycache_get_throws_number.so").string(); }

  void expect_full_service(CacheRegistry& registry) const {
    registry.reconfigure(config());
    EXPECT_TRUE(registry["default"].set("k", "v"));
    EXPECT_TRUE(registry["other"].set("k", "v"));
    EXPECT_EQ(registry.describe().at(0).plugin_file, file());
  }

  const testing::TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

TEST_F(InstalledPlugins, AMissingOneIsUsedWhenItIsThere) {
  EXPECT_THAT(refusal(config()),
              AllOf(HasSubstr("caches.default.backend: there is no backend \"good\""),
                    HasSubstr("no polycache_good.so in \"" + folder_.string())));
  CacheRegistry registry(config(), {.defer_errors = true});
  EXPECT_THROW(registry["default"], ConfigError);
  EXPECT_TRUE(registry["other"].set("k", "v"));
  install();
  expect_full_service(registry);
}

TEST_F(InstalledPlugins, ADamagedOneIsUsedWhenItIsInstalledAgain) {
  install();
  std::filesystem::resize_file(file(), std::filesystem::file_size(file()) / 2);
  EXPECT_THAT(refusal(config()), HasSubstr("is truncated or damaged"));
  CacheRegistry registry(config(), {.defer_errors = true});
  EXPECT_THROW(registry["default"], ConfigError);
  EXPECT_TRUE(registry["other"].set("k", "v"));
  std::filesystem::remove(file());
  install();
  expect_full_service(registry);
}

TEST_F(InstalledPlugins, AWorldWritablePluginNeedsPermission) {
  ::unsetenv("POLYCACHE_ALLOW_WRITABLE_FILES");
  install();
  std::filesystem::permissions(file(), std::filesystem::perms(0777));
  Config wrong = config();
  EXPECT_THAT(refusal(wrong), AllOf(HasSubstr("caches.default.backend: "), HasSubstr("chmod ")));
  wrong.allow_writable_plugins = true;
  EXPECT_EQ(CacheRegistry(wrong).describe().at(0).plugin_file, file());
  CacheRegistry registry(wrong);
  std::filesystem::permissions(file(), std::filesystem::perms(0755));
  expect_full_service(registry);
}

TEST(RegistryPlugins, WhatAnOperationThrowsBecomesABackendError) {
  Config config = with_backend("get_throws_number");
  config.caches["default"].on_error = {.read = ErrorPolicy::throw_error};
  CacheRegistry registry(config, {.on_warning = [](const Warning&) {}});
  try {
    registry["default"].get("k");
    FAIL() << "threw nothing";
  } catch (const BackendError& error) {
    EXPECT_THAT(error.what(), HasSubstr("get_throws_number"));
  }
}

TEST(RegistryPlugins, WhatAnOperationThrowsIsAMissWherePolicySaysSo) {
  std::vector<std::string> warnings;
  CacheRegistry registry(
      with_backend("get_throws_number"),
      {.on_warning = [&](const Warning& warning) { warnings.emplace_back(warning.message); }});
  EXPECT_FALSE(registry["default"].get("k"));
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("get_throws_number")));
}

// --- Layers and key functions, around a store that notes what arrives ---

std::vector<std::string>& arrived() {
  static auto* const lines = new std::vector<std::string>;
  return *lines;
}

class Notebook final : public Backend {
 public:
  bool get(std::string_view key, ValueSink /*sink*/) override {
    arrived().push_back("get " + std::string(key));
    return false;
  }
  bool put(std::string_view key, std::string_view value, Ttl /*ttl*/, PutMode /*mode*/) override {
    arrived().push_back("put " + std::string(key) + " " + std::string(value));
    return true;
  }
  bool touch(std::string_view /*key*/, Ttl /*ttl*/, ValueSink /*head*/) override { return false; }
  bool erase(std::string_view /*key*/) override { return false; }
  void clear() override {}
};

class NotebookFactory final : public BackendFactory {
 public:
  std::unique_ptr<Backend> connect() override { return std::make_unique<Notebook>(); }
};

std::unique_ptr<BackendFactory> create_notebook(const OptionReader& /*options*/,
                                                const BackendContext& /*context*/) {
  return std::make_unique<NotebookFactory>();
}

constexpr PluginDescriptor notebook = backend_plugin("notebook", "1.0", create_notebook);

class ComposedPlugins : public ::testing::Test {
 protected:
  ComposedPlugins() { arrived().clear(); }

  // What arrives at the store when `json` configures the alias "default" further.
  static std::vector<std::string> set_through(const std::string& json, std::string_view key,
                                              std::string_view value) {
    CacheRegistry registry(config(json), environment);
    EXPECT_TRUE(registry["default"].set(key, value));
    return arrived();
  }
  static Config config(const std::string& json) {
    Config config =
        Config::from_json(R"({"plugin_path": [")" + specimens.string() +
                          R"("], "caches": {"default": {"backend": "notebook", )" + json + "}}}");
    config.folder = specimens;
    return config;
  }

  static inline const Environment environment{.on_warning = [](const Warning&) {},
                                              .linked_plugins = {&notebook}};
};

TEST_F(ComposedPlugins, ALayerOfAPluginIsAroundTheStore) {
  EXPECT_THAT(set_through(R"("layers": ["shout"])", "k", "hello"), ElementsAre("put :1:k HELLO!"));
}

TEST_F(ComposedPlugins, LayersAreAppliedFromTheOutsideIn) {
  EXPECT_THAT(set_through(R"("layers": [{"name": "shout", "options": {"mark": "a"}},
                                        {"name": "shout", "options": {"mark": "z"}}])",
                          "k", "hello"),
              ElementsAre("put :1:k HELLOAz"));
}

TEST_F(ComposedPlugins, ALayersOptionsAreChecked) {
  try {
    const CacheRegistry registry(
        config(R"("layers": [{"name": "shout", "options": {"marc": "?"}}])"), environment);
    FAIL() << "threw nothing";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("layers[0]"), HasSubstr("marc"), HasSubstr("mark")));
  }
}

TEST_F(ComposedPlugins, AMissingLayerIsNamed) {
  EXPECT_THAT(
      refusal(config(R"("layers": ["shuot"])"), environment),
      AllOf(HasSubstr("there is no layer \"shuot\""), HasSubstr("did you mean \"shout\"?")));
  EXPECT_THAT(refusal(config(R"("layers": ["good"])"), environment),
              HasSubstr(" is a backend (\"good\"), but a layer is expected here"));
}

TEST_F(ComposedPlugins, AKeyFunctionOfALibraryMakesTheKeys) {
  EXPECT_THAT(set_through(R"("key_prefix": "shop", "version": 2,
                             "key_function": "./libspecimen_keys.so:backwards_key")",
                          "abc", "v"),
              ElementsAre("put cba/shop/2 v"));
}

TEST_F(ComposedPlugins, AKeyFunctionThatIsNotThereIsNamed) {
  EXPECT_THAT(
      refusal(config(R"("key_function": "./libspecimen_keys.so:forwards_key")"), environment),
      AllOf(HasSubstr("caches.default.key_function"),
            HasSubstr("has no function \"forwards_key\"")));
  EXPECT_THAT(
      refusal(config(R"("key_function": "./polycache_no_mark.so:polycache_plugin")"), environment),
      HasSubstr("is not a polycache plugin"));
  EXPECT_THAT(refusal(config(R"("key_function": "reversed")"), environment),
              HasSubstr("there is no key function \"reversed\""));
}

#ifdef HASHED_IS_BUILT
TEST_F(ComposedPlugins, TheKeyFunctionHashedIsFoundNextToTheLibrary) {
  // Only libpolycache's own folder has it.
  EXPECT_THAT(set_through(R"("key_prefix": "shop", "key_function": "hashed")", "two words", "v"),
              ElementsAre("put shop:1:#a03f1d611645eb53ad16c1af546ca079 v"));
}
#endif

}  // namespace
}  // namespace polycache
