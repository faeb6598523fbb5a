// Functions by name: registered ones, and those of libraries that this test's build has made.

#include "polycache/function.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "shop.h"
#include "support/message_of.h"

namespace {

using polycache::BackendError;
using polycache::CacheError;
using polycache::CacheRegistry;
using polycache::Config;
using polycache::ConfigError;
using polycache::find_function;
using polycache::Function;
using polycache::PluginError;
using polycache::register_function;
using polycache::ValueError;
using polycache::testing::message_of;
using shop::Foo;
using ::testing::AllOf;
using ::testing::HasSubstr;

const std::filesystem::path libraries = FUNCTION_LIBRARIES;

CacheRegistry& registry() {
  static CacheRegistry made(Config{.caches = {{"default", {.backend = "locmem"}}},
                                   .plugin_path = {libraries},
                                   .allow_writable_plugins = true},
                            {.on_warning = {}, .linked_plugins = {&polycache::locmem::plugin}});
  return made;
}

// A name stays for ever.
std::string fresh(const std::string& name) {
  static std::atomic<int> count{0};
  return name + std::to_string(count++);
}

Function in_shop(const std::string& name) {
  return find_function((libraries / "polycache_shop.so").string() + ':' + name, registry());
}

TEST(Functions, ACallableIsCalledWithItsTypesKnownAtRunTime) {
  const Function area([](double width, double height) { return width * height; });
  EXPECT_EQ(area.parameters(), "(f64,f64)");
  EXPECT_EQ(area.result(), "f64");
  EXPECT_EQ(area.call<double>(3.0, 4.0), 12.0);
  EXPECT_EQ(area.name(), "");
}

TEST(Functions, IntegersOfEveryWidthConvertIfTheyFit) {
  const Function byte([](std::uint8_t n) { return static_cast<int>(n); });
  const Function longest([](std::int64_t n) { return n; });
  const Function positive([](std::uint64_t n) { return n; });
  EXPECT_EQ(byte.call<int>(255), 255);
  EXPECT_EQ(byte.call<int>(std::int64_t{7}), 7);
  EXPECT_THROW(byte.call<int>(256), ValueError);
  EXPECT_THROW(byte.call<int>(-1), ValueError);
  EXPECT_EQ(longest.call<std::int64_t>(-5), -5);
  EXPECT_EQ(longest.call<std::int64_t>(std::uint32_t{4'000'000'000U}), 4'000'000'000);
  EXPECT_THROW(longest.call<std::int64_t>(std::numeric_limits<std::uint64_t>::max()), ValueError);
  EXPECT_THROW(positive.call<std::uint64_t>(-1), ValueError);
  EXPECT_EQ(positive.call<std::uint64_t>(std::int8_t{3}), 3U);
}

TEST(Functions, FloatingPointNumbersConvertIfTheyLoseNothing) {
  const Function single([](float f) { return f; });
  const Function wide([](double f) { return f; });
  EXPECT_EQ(single.call<float>(0.5), 0.5F);
  EXPECT_THROW(single.call<float>(0.1), ValueError);
  EXPECT_THROW(single.call<float>(1e300), ValueError);
  EXPECT_EQ(single.call<float>(std::numeric_limits<double>::infinity()),
            std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(single.call<float>(std::nan(""))));
  EXPECT_EQ(wide.call<double>(3), 3.0);
  EXPECT_EQ(wide.call<double>(0.25F), 0.25);
  EXPECT_THROW(wide.call<double>((std::int64_t{1} << 60U) + 1), ValueError);
  EXPECT_EQ(wide.call<double>(std::int64_t{1} << 60U), std::ldexp(1.0, 60));
}

TEST(Functions, AFloatingPointNumberIsNoInteger) {
  const Function f([](int n) { return n; });
  EXPECT_THAT(message_of<ConfigError>([&] { f.call<int>(3.0); }),
              AllOf(HasSubstr("(i32) -> i32"), HasSubstr("called as (f64) -> i32"),
                    HasSubstr("argument 1")));
  EXPECT_THROW(f.call<int>(true), ConfigError);
  EXPECT_THROW(f.call<int>('a'), ConfigError);
}

TEST(Functions, OptionalsAndSequencesConvertTheirElements) {
  const Function sum([](const std::vector<std::int64_t>& values) {
    std::int64_t total = 0;
    for (const std::int64_t value : values) total += value;
    return total;
  });
  EXPECT_EQ(sum.call<std::int64_t>(std::vector<short>{1, 2, -3}), 0);
  EXPECT_EQ(sum.call<std::int64_t>(std::vector<short>{}), 0);
  EXPECT_THROW(sum.call<std::int64_t>(std::vector<double>{}), ConfigError);
  EXPECT_THROW(
      sum.call<std::int64_t>(std::vector<std::uint64_t>{std::numeric_limits<std::uint64_t>::max()}),
      ValueError);

  const Function maybe([](std::optional<std::int64_t> n) { return n.value_or(-1); });
  EXPECT_EQ(maybe.call<std::int64_t>(5), 5);
  EXPECT_EQ(maybe.call<std::int64_t>(std::optional<short>()), -1);
  EXPECT_EQ(maybe.call<std::int64_t>(std::optional<short>(4)), 4);
  EXPECT_EQ(maybe.call<std::int64_t>(std::int64_t{9}), 9);

  EXPECT_THROW(maybe.call<std::int64_t>(std::optional<std::string>()), ConfigError);
  EXPECT_THROW(maybe.call<std::int64_t>(std::optional<double>()), ConfigError);

  const Function each([](const std::vector<std::optional<double>>& all) { return all.size(); });
  EXPECT_EQ(each.call<std::size_t>(std::vector<int>{1, 2}), 2U);
  const Function named([](std::optional<Foo> foo) { return foo->colour; });
  EXPECT_EQ(named.call<std::string>(Foo{1, "red"}), "red");
}

TEST(Functions, AMismatchShowsBothSignatures) {
  const Function f([](std::int64_t n, const std::string& s) { return s + std::to_string(n); });
  const auto message = [&](auto call) { return message_of<ConfigError>(call); };
  EXPECT_THAT(message([&] { f.call<std::string>(1); }),
              AllOf(HasSubstr("(i64,[c8]) -> [c8]"), HasSubstr("called as (i32) -> [c8]"),
                    HasSubstr("more arguments")));
  EXPECT_THAT(message([&] { f.call<std::string>(1, "a", 2); }),
              AllOf(HasSubstr("(i32,[c8],i32) -> [c8]"), HasSubstr("fewer arguments")));
  EXPECT_THAT(message([&] { f.call<int>(1, "a"); }), HasSubstr("called as (i32,[c8]) -> i32"));
  EXPECT_THAT(message([&] { f.call<std::string>("a", "a"); }), HasSubstr("argument 1"));
  EXPECT_THAT(message([&] { f.call<std::string>(1, Foo{}); }),
              HasSubstr("argument 2 does not become a [c8]"));
  EXPECT_THROW(f.call<std::string>(1, static_cast<const char*>(nullptr)), ValueError);
}

TEST(Functions, ARegisteredFunctionIsFoundByItsName) {
  const std::string name = fresh("test.answer");
  register_function(name, [] { return 42; });
  const Function answer = find_function(name, registry());
  EXPECT_EQ(answer.call<int>(), 42);
  EXPECT_EQ(answer.name(), name);
  EXPECT_THAT(message_of<ConfigError>([&] { register_function(name, [] { return 1; }); }),
              HasSubstr("taken"));
  EXPECT_THROW(register_function("", [] { return 1; }), ConfigError);
  EXPECT_THROW(register_function("a:b", [] { return 1; }), ConfigError);
  EXPECT_THAT(message_of<ConfigError>([] { find_function("test.answr", registry()); }),
              AllOf(HasSubstr("did you mean \"test.answer"), HasSubstr("register_function")));
  for (const char* const wrong : {":f", "lib:", ":"}) {
    EXPECT_THROW(find_function(wrong, registry()), ConfigError) << wrong;
  }
}

TEST(Functions, AFunctionThatIsNullIsRefused) {
  int (*const null)(int) = nullptr;
  EXPECT_THAT(message_of<ConfigError>([&] { const Function f(null); }), HasSubstr("null"));
  EXPECT_THROW(register_function(fresh("test.null."), std::function<int()>()), ConfigError);
  EXPECT_THROW(Function(static_cast<std::size_t (std::string::*)() const noexcept>(nullptr)),
               ConfigError);
  EXPECT_EQ(Function(+[](int n) { return n; }).call<int>(3), 3);
  EXPECT_EQ(Function(std::function<int(int)>([](int n) { return n; })).call<int>(4), 4);
}

TEST(Functions, ANameThatIsNullIsRefused) {
  const char* const null = nullptr;
  EXPECT_THROW(find_function(null), ConfigError);
  EXPECT_THROW(find_function(null, registry()), ConfigError);
  EXPECT_THROW(register_function(null, [] { return 1; }), ConfigError);
  EXPECT_THROW(polycache::call_function<int>(null), ConfigError);
}

TEST(Functions, ALibraryExportsFunctionsUnderTheirNames) {
  EXPECT_EQ(in_shop("filter_foos").call<std::vector<Foo>>(2, "red"),
            (std::vector<Foo>{{0, "red"}, {1, "red"}}));
  EXPECT_EQ(in_shop("find_foo").call<std::optional<Foo>>(3), (Foo{3, "red"}));
  EXPECT_EQ(in_shop("find_foo").call<std::optional<Foo>>(0), std::nullopt);
  EXPECT_EQ(in_shop("sum").call<double>(std::vector<int>{1, 2}), 3.0);
  EXPECT_EQ(in_shop("greet").call<std::string>("Ann", true), "HELLO Ann");
  EXPECT_EQ((in_shop("count").call<std::map<std::string, int>>(Foo{1, "red"}, 2)),
            (std::map<std::string, int>{{"red", 3}}));
  EXPECT_EQ(in_shop("twice").call<int>(4), 8);
  const int before = in_shop("warmed").call<int>();
  in_shop("warm").call<void>();
  EXPECT_EQ(in_shop("warmed").call<int>(), before + 1);
}

TEST(Functions, ALibraryIsFoundAsPluginsAre) {
  EXPECT_EQ(find_function("shop:twice", registry()).call<int>(4), 8);
  CacheRegistry here(Config{.caches = {{"default", {.backend = "locmem"}}},
                            .allow_writable_plugins = true,
                            .folder = libraries},
                     {.on_warning = {}, .linked_plugins = {&polycache::locmem::plugin}});
  EXPECT_EQ(find_function("polycache_shop.so:twice", here).call<int>(4), 8);
  EXPECT_EQ(find_function("./polycache_shop.so:twice", here).call<int>(4), 8);
}

TEST(Functions, ALibraryWithoutTheFunctionSaysWhichItHas) {
  EXPECT_THAT(message_of<PluginError>([] { in_shop("filter_fos"); }),
              AllOf(HasSubstr("did you mean \"filter_foos\"?"), HasSubstr("\"sum\"")));
  EXPECT_THAT(message_of<PluginError>([] { find_function("shopp:sum", registry()); }),
              AllOf(HasSubstr("library of functions \"shopp\""), HasSubstr("polycache_shopp.so")));
  EXPECT_THAT(message_of<PluginError>([] { find_function("repeating:warmed", registry()); }),
              HasSubstr("two functions \"warmed\""));
}

TEST(Functions, ALibraryThatDoesNotFitIsRefusedUnrun) {
  EXPECT_THAT(message_of<PluginError>([] { find_function("other_abi:twice", registry()); }),
              HasSubstr("ABI 99"));
  const std::filesystem::path damaged = libraries / "damaged.so";
  std::filesystem::copy_file(libraries / "polycache_repeating.so", damaged,
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::resize_file(damaged, std::filesystem::file_size(damaged) / 2);
  EXPECT_THAT(
      message_of<PluginError>([&] { find_function(damaged.string() + ":sum", registry()); }),
      HasSubstr("truncated or damaged"));
  std::ofstream(damaged) << "no library";
  EXPECT_THROW(find_function(damaged.string() + ":sum", registry()), PluginError);
  std::filesystem::remove(damaged);
  EXPECT_THAT(
      message_of<PluginError>([&] { find_function(damaged.string() + ":sum", registry()); }),
      HasSubstr("damaged.so"));
}

TEST(Functions, ALibraryOfAnotherKindIsRefused) {
  EXPECT_THAT(message_of<PluginError>([] { find_function(STOCK_PLUGIN ":get", registry()); }),
              HasSubstr("library of functions"));
}

TEST(Functions, WhatAFunctionThrowsReachesTheCaller) {
  const Function fail = in_shop("fail");
  try {
    fail.call<int>(0);
    ADD_FAILURE() << "did not throw";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "there is none");
  }
  try {
    fail.call<int>(1);
    ADD_FAILURE() << "did not throw";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::timeout);
  }
  EXPECT_THAT(message_of<CacheError>([&] { fail.call<int>(2); }),
              AllOf(HasSubstr(":fail"), HasSubstr("not a std::exception")));
  EXPECT_EQ(fail.call<int>(3), 3);
}

TEST(Functions, AKeyHasTheArgumentsAsTheFunctionTakesThem) {
  EXPECT_EQ(in_shop("filter_foos").key(3, "dark red"), ":3:dark%20red");
  EXPECT_EQ(in_shop("filter_foos").key(3L, std::string("dark red")), ":3:dark%20red");
  const Function half([](double n) { return n / 2; });
  EXPECT_EQ(half.key(1), half.key(1.0));
  EXPECT_NE(half.key(0.1F), half.key(0.1));
  EXPECT_EQ(in_shop("warm").key(), "");
  EXPECT_THROW(half.key(std::nan("")), polycache::InvalidKey);
}

TEST(Functions, ManyThreadsCallOneFunction) {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) {
        const Function twice = find_function("shop:twice", registry());
        if (twice.call<int>(n) == 2 * n) ++right;
        register_function(fresh("test.thread."), [] { return 1; });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 800);
}

}  // namespace
